"""Delivery knows no kind of result: a second one, with other elements, words and searches, is delivered by the same code."""

from schemas.endpoint_kinds import GENERIC
from schemas.operation import Intent, Operation, State
from streams.delivery.audit import SettlementAudit
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts
from streams.delivery.role import Delivery
from tests.delivering import QUICK, at_rest, deliver_until
from tests.doubles.ledgers import intent
from tests.doubles.memory_ledger import MemoryLedger
from tests.doubles.notes import NOTES, MemoryEhr, NoteCapabilities
from tests.ehrs import Counts, now

KINDS = {NOTES.resource_type: NOTES}

ENDPOINT = "north-epic"


def note(text: str, resource_type: str = "Communication") -> Intent:
    """Two texts are two versions of one note."""
    payload = NOTES.renderer(None, ENDPOINT)(text, "eAB3")  # type: ignore[arg-type]
    return intent("note-1", content=text, resource_type=resource_type, payload=payload)


async def delivered(ehr: MemoryEhr, *intents: Intent) -> tuple[MemoryLedger, list[Operation]]:
    ledger = MemoryLedger(SettlementAudit(KINDS))
    ledger.record(intents)
    ports = DeliveryPorts(
        endpoint=ENDPOINT,
        kind=GENERIC,
        capabilities=NoteCapabilities(),
        ehr=ehr,
        ledger=ledger,
        review=lambda operation, at: None,
        clock=now,
        result_kinds=KINDS,
    )
    role = Delivery(ports, DeliveryMetrics(ENDPOINT, Counts(), now), pace=QUICK)
    await deliver_until(role, lambda: at_rest(ledger))
    return ledger, list(ledger.operations.values())


async def test_another_kind_is_created_as_part_of_its_encounter_and_audited_in_its_own_words() -> None:
    ehr = MemoryEhr()
    ledger, [operation] = await delivered(ehr, note("first"))
    assert (operation.state, operation.resource_id) == (State.SUCCEEDED, "n1")
    assert ehr.resources["n1"]["about"] == "Encounter/enc-eAB3"
    assert [step.action for step in ledger.steps] == ["note.charted"]


async def test_another_kind_is_amended_by_its_own_element() -> None:
    ehr = MemoryEhr()
    _, operations = await delivered(ehr, note("first"), note("second"))
    assert [operation.state for operation in operations] == [State.SUCCEEDED] * 2
    assert [(one["payload"][0]["contentString"], one["revision"]) for one in ehr.resources.values()] == [("second", 2)]


async def test_a_lost_response_of_another_kind_is_settled_by_its_own_search_and_comparison() -> None:
    ehr = MemoryEhr()
    ehr.lose_next = True
    _, [operation] = await delivered(ehr, note("first"))
    assert (operation.state, operation.resource_id) == (State.SUCCEEDED, "n1")
    assert ehr.searches == [("Communication", (("topic", "t-1"),))]
    assert len(ehr.resources) == 1


async def test_a_type_that_nobody_has_taught_delivery_is_held_and_not_sent() -> None:
    ehr = MemoryEhr()
    _, [operation] = await delivered(ehr, note("first", resource_type="Basic"))
    assert (operation.state, operation.code) == (State.HELD, "create_unsupported")
    assert ehr.resources == {}
