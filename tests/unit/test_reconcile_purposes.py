"""Operations by the purpose of their consent: counted as in the totals, and printed as one row for each state."""

from adapters.ledger import SqlLedger
from schemas.operation import Outcome, State
from schemas.topics import QUARANTINE, READINGS
from tests.doubles.ledgers import intent
from tests.unit.test_reconcile import READING, Log, ledger, log, reconcile
from vitalwire.cli.reconcile import rows

__all__ = ["ledger", "log"]


def record_two_purposes(ledger: SqlLedger) -> None:
    """Of the purpose vitals one operation is held, one in progress and one pending; of documents one is pending."""
    ledger.record([intent(event, patient=event, endpoint="fhir") for event in ("w1", "w2", "w3")])
    ledger.record([intent("w4", endpoint="epic", purpose="documents", scope="*")])
    held, _in_progress = ledger.claim("fhir", 2, 60)
    ledger.settle({held.operation_id: Outcome(state=State.HELD, fence=held.fence)})


def test_operations_in_progress_count_as_pending_in_total_and_by_purpose(log: Log, ledger: SqlLedger):
    record_two_purposes(ledger)
    assert ledger.states_by_purpose()["vitals"][State.IN_PROGRESS] == 1
    report = reconcile(log, ledger)
    assert report.intents_by_purpose == {"documents": {"pending": 1}, "vitals": {"held": 1, "pending": 2}}
    assert (report.intents, report.held, report.pending) == (4, 1, 3)


def test_the_report_is_printed_as_one_value_a_row(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    log.quarantined_or_late(QUARANTINE, "unpaired", 0)
    record_two_purposes(ledger)
    shown = rows(reconcile(log, ledger))
    assert not [name for name, value in shown.items() if isinstance(value, dict | list)]
    assert {name: value for name, value in shown.items() if ":" in name} == {
        "quarantined: unpaired": 1,
        "intents: documents, pending": 1,
        "intents: vitals, held": 1,
        "intents: vitals, pending": 2,
    }
