"""What the clinical role does with closed windows: real ledger, real mapper, real metrics; Kafka kept in memory."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from adapters.ledger import SqlLedger, migrate, open_ledger
from adapters.metrics import PrometheusObserver
from mappings.observation.mapper import ObservationMapper
from schemas.audit import AuditEvent
from schemas.config import Config
from schemas.operation import Intent, Operation, Outcome, State
from schemas.reference import Provision
from schemas.topics import DLQ_CLINICAL, QUARANTINE
from streams.audit.verification import broken_links
from streams.clinical.role import ClinicalPorts, ClinicalRole
from tests.doubles.ledgers import audited
from tests.doubles.ports import MemoryProducer, StaticReference, fixed_clock
from tests.doubles.windows import CLOSED_MS, START, batch, pressure, window

CONFIG = Config.model_validate(
    {
        "tenants": {"north": {"endpoints": ["north-fhir", "north-epic"]}},
        "endpoints": {
            "north-fhir": {"kind": "fhir", "base_url": "http://127.0.0.1:1/fhir"},
            "north-epic": {"kind": "epic", "base_url": "http://127.0.0.1:1/epic"},
        },
    }
)


class Ward:
    """A clinical role with its surroundings."""

    def __init__(self, folder: Path, hold_s: float = 60.0) -> None:
        url = f"sqlite:///{folder / 'ledger.db'}"
        migrate(url)
        self.ledger: SqlLedger = open_ledger(url, None)
        self.producer = MemoryProducer()
        self.reference = StaticReference()
        self.reference.admit("p-9", north_fhir="fhir-9", north_epic="epic-9")
        self.observer = PrometheusObserver()
        self.mappers = {name: ObservationMapper(CONFIG, name) for name in CONFIG.endpoints}
        self.role = ClinicalRole(
            ClinicalPorts(
                config=lambda: CONFIG,
                reference=self.reference,
                render=lambda endpoint, windows, subject: self.mappers[endpoint].render(windows, subject),
                ledger=self.ledger,
                producer=self.producer,
                observer=self.observer,
                clock=fixed_clock,
            ),
            hold_s,
        )

    def permit_during(self, since: datetime | None, until: datetime | None) -> None:
        consent = self.reference.consents["north", "p-9"]
        self.reference.consents["north", "p-9"] = consent.model_copy(update={"since": since, "until": until})

    def operations(self, endpoint: str = "north-fhir") -> list[Operation]:
        return self.ledger.claim(endpoint, 100, 60)

    def intents(self, endpoint: str = "north-fhir") -> list[Intent]:
        return [operation.intent for operation in self.operations(endpoint)]

    def quarantined(self) -> list[dict]:
        return [json.loads(record.value) for record in self.producer.to(QUARANTINE)]

    def audited(self) -> list[AuditEvent]:
        return audited(self.ledger)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    made = Ward(tmp_path)
    yield made
    made.ledger.close()


async def test_a_published_window_becomes_an_intent_at_every_endpoint_of_its_tenant(ward: Ward):
    charted = window()
    await ward.role.take(batch(charted))
    (at_fhir,), (at_epic,) = ward.intents("north-fhir"), ward.intents("north-epic")
    assert (at_fhir.subject_id, at_epic.subject_id) == ("fhir-9", "epic-9")
    assert at_fhir.payload["valueQuantity"]["value"] == 72
    assert (at_fhir.source.event_id, at_fhir.source.part_ids) == (charted.window_id, [charted.window_id])
    assert at_fhir.occurred_at == charted.end
    assert at_fhir.produced_at.timestamp() * 1000 == CLOSED_MS
    assert ward.role.settled() == {0: 1}


async def test_a_window_that_is_not_published_is_settled_and_causes_nothing(ward: Ward):
    await ward.role.take(batch(window(publish=False, cause=None)))
    assert ward.ledger.states() == {}
    assert ward.producer.sent == []
    assert ward.role.settled() == {0: 1}


async def test_systolic_and_diastolic_become_one_panel(ward: Ward):
    systolic, diastolic = pressure(121, 79)
    await ward.role.take(batch(systolic, diastolic))
    (panel,) = ward.intents()
    assert panel.source.event_id == systolic.window_id
    assert panel.source.part_ids == [systolic.window_id, diastolic.window_id]
    assert panel.scope == "blood_pressure"
    assert [c["valueQuantity"]["value"] for c in panel.payload["component"]] == [121, 79]


async def test_the_panel_is_the_same_whichever_member_comes_first(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(diastolic, systolic))
    await ward.role.take(batch(systolic, diastolic, first=2))
    assert len(ward.operations()) == 1
    assert ward.role.settled() == {0: 4}


async def test_a_member_waits_for_the_other_across_batches_and_holds_its_offset(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(window(minute=1), systolic, window(minute=2)))
    assert ward.role.settled() == {0: 1}
    await ward.role.take(batch(diastolic, first=3))
    assert ward.role.settled() == {0: 4}
    assert (
        systolic.window_id
        in {intent.source.event_id for intent in ward.intents()}
        | {op.intent.source.event_id for op in ward.operations()}
        | ward.ledger.source_ids()
    )


async def test_one_published_member_brings_the_other_so_that_a_panel_is_always_whole(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic, diastolic.model_copy(update={"publish": False, "cause": None})))
    (panel,) = ward.intents()
    assert len(panel.payload["component"]) == 2


async def test_a_member_whose_other_never_comes_is_charted_when_the_log_went_on_for_a_minute(ward: Ward):
    systolic, _ = pressure()
    await ward.role.take(batch(systolic))
    await ward.role.take(batch(window(minute=1), first=1, at_ms=CLOSED_MS + 60_000))
    assert systolic.window_id in ward.ledger.source_ids()
    assert ward.role.settled() == {0: 2}


async def test_a_member_whose_other_never_comes_is_charted_when_the_partition_went_silent(tmp_path: Path):
    ward = Ward(tmp_path, hold_s=0.0)
    systolic, _ = pressure()
    await ward.role.take(batch(systolic))
    await _until(lambda: ward.role.settled() == {0: 1})
    assert ward.ledger.source_ids() == {systolic.window_id}


async def test_a_repeated_member_of_a_joined_panel_is_not_charted_again_as_half_a_panel(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic, systolic, diastolic, diastolic))
    await ward.role.take(batch(window(minute=1), first=4, at_ms=CLOSED_MS + 120_000))
    assert ward.ledger.states()["north-fhir"] == {State.PENDING: 2}


async def test_nothing_is_settled_before_the_ledger_has_it(ward: Ward, monkeypatch: pytest.MonkeyPatch):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic, window(minute=1)))
    seen: list[dict[int, int]] = []
    record = ward.ledger.record

    def watched(*args: object) -> object:
        seen.append(dict(ward.role.settled()))
        return record(*args)

    monkeypatch.setattr(ward.ledger, "record", watched)
    await ward.role.take(batch(diastolic, first=2))
    assert seen == [{0: 0}]
    assert ward.role.settled() == {0: 3}


async def test_old_records_read_again_do_not_tear_a_panel_apart(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic, at_ms=CLOSED_MS - 86_400_000))
    await ward.role.take(batch(diastolic, first=1, at_ms=CLOSED_MS - 86_400_000 + 900))
    (panel,) = ward.intents()
    assert len(panel.payload["component"]) == 2


async def test_taking_the_same_batch_again_changes_nothing(ward: Ward):
    everything = batch(window(), *pressure(), window(minute=1))
    await ward.role.take(everything)
    before = ward.ledger.states()
    await ward.role.assigned([0])
    await ward.role.take(everything)
    assert ward.ledger.states() == before


async def test_new_content_of_a_window_amends_its_operation(ward: Ward):
    await ward.role.take(batch(window(value=72), window(value=75, revision=1, cause="late")))
    (first,) = ward.operations()
    ward.ledger.settle({first.operation_id: Outcome(fence=first.fence, state=State.SUCCEEDED)})
    (amendment,) = ward.operations()
    assert amendment.amends == first.operation_id
    assert amendment.intent.source.event_id == first.intent.source.event_id
    assert amendment.intent.payload["valueQuantity"]["value"] == 75


async def test_a_changed_mapping_amends_and_a_changed_patient_id_of_the_ehr_does_not(ward: Ward):
    await ward.role.take(batch(window()))
    ward.reference.admit("p-9", north_fhir="merged", north_epic="merged")
    await ward.role.take(batch(window()))
    assert ward.ledger.states()["north-fhir"] == {State.PENDING: 1}
    plain = ward.mappers["north-fhir"]

    class Renewed:
        def render(self, windows: list, subject: str) -> dict:
            return plain.render(windows, subject) | {"language": "en"}

    ward.mappers["north-fhir"] = Renewed()
    await ward.role.take(batch(window()))
    assert ward.ledger.states()["north-fhir"] == {State.PENDING: 2}


async def test_a_patient_unknown_at_one_endpoint_is_refused_there_and_charted_at_the_other(ward: Ward):
    ward.reference.admit("p-9", north_fhir="fhir-9")
    refused = window()
    await ward.role.take(batch(refused))
    assert len(ward.intents("north-fhir")) == 1
    assert ward.intents("north-epic") == []
    (kept,) = ward.quarantined()
    assert (kept["kind"], kept["reason"], kept["endpoint"]) == ("window", "unknown_patient", "north-epic")
    assert kept["source"] == {
        "topic": "vitals.windows",
        "partition": 0,
        "offset": 0,
        "index": 1,
        "last_offset": None,
    }
    assert kept["reading"]["window_id"] == refused.window_id


async def test_a_patient_without_a_record_is_refused_everywhere(ward: Ward):
    await ward.role.take(batch(window(patient="p-10")))
    assert ward.ledger.states() == {}
    assert [(k["reason"], k["endpoint"]) for k in ward.quarantined()] == [
        ("unknown_patient", "north-fhir"),
        ("unknown_patient", "north-epic"),
    ]


async def test_no_consent_is_no_chart(ward: Ward):
    del ward.reference.consents["north", "p-9"]
    await ward.role.take(batch(window()))
    assert ward.ledger.states() == {}
    assert {k["reason"] for k in ward.quarantined()} == {"no_consent"}


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (START + timedelta(seconds=59, milliseconds=999), None),
        (START + timedelta(milliseconds=1), None),
        (None, START + timedelta(seconds=30)),
        (START + timedelta(seconds=10), START + timedelta(seconds=20)),
    ],
)
@pytest.mark.parametrize("says", [{}, {"first_time": START, "last_time": START + timedelta(seconds=59)}])
async def test_consent_for_a_part_of_the_minute_charts_nothing_of_it(
    ward: Ward, since: datetime | None, until: datetime | None, says: dict[str, datetime]
):
    ward.permit_during(since, until)
    await ward.role.take(batch(window(**says), *pressure(**says)))
    assert ward.ledger.states() == {}
    assert {k["reason"] for k in ward.quarantined()} == {"no_consent"}


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        (START, START + timedelta(minutes=1), {}),
        (START + timedelta(seconds=5), START + timedelta(seconds=50), {"first_time": 5, "last_time": 49}),
    ],
)
async def test_consent_from_first_to_last_reading_is_enough(
    ward: Ward, since: datetime, until: datetime, says: dict[str, int]
):
    ward.permit_during(since, until)
    measured = {name: START + timedelta(seconds=second) for name, second in says.items()}
    await ward.role.take(batch(window(**measured)))
    (charted,) = ward.intents()
    assert (charted.source.device_id, charted.scope) == ("mon-17", "heart_rate")
    assert charted.source.first_time == measured.get("first_time", START)
    assert charted.source.last_time == measured.get("last_time", START + timedelta(minutes=1, microseconds=-1))


async def test_a_panel_was_measured_from_its_earliest_to_its_latest_member(ward: Ward):
    systolic, diastolic = pressure(first_time=START + timedelta(seconds=9), last_time=START + timedelta(seconds=20))
    diastolic = diastolic.model_copy(update={"last_time": START + timedelta(seconds=40)})
    ward.permit_during(START, START + timedelta(seconds=40))
    await ward.role.take(batch(systolic, diastolic))
    assert ward.ledger.states() == {}
    ward.permit_during(START + timedelta(seconds=9), START + timedelta(seconds=41))
    await ward.role.revoked([0])
    await ward.role.take(batch(systolic, diastolic))
    assert [i.source.last_time for i in ward.intents()] == [START + timedelta(seconds=40)]


async def test_a_panel_is_refused_whole_when_one_member_is_denied(ward: Ward):
    consent = ward.reference.consents["north", "p-9"]
    denied = consent.model_copy(update={"denies": [Provision(purpose="vitals", types=["diastolic_bp"])]})
    ward.reference.consents["north", "p-9"] = denied
    await ward.role.take(batch(*pressure(), window()))
    assert [intent.scope for intent in ward.intents()] == ["heart_rate"]
    assert len(ward.quarantined()) == 4


async def test_a_tenant_that_is_not_configured_is_refused(ward: Ward):
    await ward.role.take(batch(window(tenant_id="south")))
    (kept,) = ward.quarantined()
    assert (kept["reason"], kept["endpoint"]) == ("unknown_patient", None)


@pytest.mark.parametrize("poison", [b"", b"{", b"\xff\x00", b"[]", b'{"window_id": 1}', b"null"])
async def test_bytes_that_are_no_window_go_to_the_dead_letters_and_harm_no_neighbour(ward: Ward, poison: bytes):
    await ward.role.take(batch(window(), poison, window(minute=1)))
    assert len(ward.ledger.source_ids()) == 2
    (letter,) = ward.producer.to(DLQ_CLINICAL)
    assert letter.value == poison
    assert letter.key == b"north|p-9"
    assert dict(letter.headers) == {
        "__streams.errors.exception": b"malformed",
        "__streams.errors.topic": b"vitals.windows",
        "__streams.errors.partition": b"0",
        "__streams.errors.offset": b"1",
    }
    assert ward.role.settled() == {0: 3}


async def test_a_template_that_fails_for_a_window_harms_no_neighbour_and_no_other_endpoint(ward: Ward):
    whole = ward.mappers["north-epic"]

    class Broken:
        def render(self, windows: list, subject: str) -> dict:
            if windows[0].last == 72:
                raise ZeroDivisionError("CANARY")
            return whole.render(windows, subject)

    ward.mappers["north-epic"] = Broken()
    await ward.role.take(batch(window(value=72), window(value=73, minute=1)))
    assert len(ward.ledger.source_ids()) == 2
    assert len(ward.intents("north-epic")) == 1
    (letter,) = ward.producer.to(DLQ_CLINICAL)
    assert dict(letter.headers)["__streams.errors.exception"] == b"ZeroDivisionError"
    assert b"CANARY" not in repr(letter.headers).encode()


async def test_what_is_away_is_tried_again_in_place_until_it_answers(ward: Ward, monkeypatch: pytest.MonkeyPatch):
    ward.reference.stale = 1
    ward.producer.away = 1
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    await ward.role.take(batch(window()))
    assert len(ward.intents()) == 1
    assert len(ward.audited()) == 2
    assert 'vitalwire_retries_total{dependency="reference"} 1.0' in ward.observer.exposition().decode()


async def test_a_revoked_partition_is_forgotten_with_what_it_held(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic))
    await ward.role.revoked([0])
    assert ward.role.settled() == {}
    await ward.role.assigned([0])
    await ward.role.take(batch(systolic, diastolic))
    assert ward.ledger.states()["north-fhir"] == {State.PENDING: 1}


async def test_members_in_different_partitions_are_never_joined(ward: Ward):
    systolic, diastolic = pressure()
    await ward.role.take(batch(systolic, partition=0))
    await ward.role.take(batch(diastolic, partition=1))
    assert ward.ledger.states() == {}
    assert ward.role.settled() == {0: 0, 1: 0}


async def test_every_step_is_audited_in_a_chain_that_holds_and_names_no_patient(ward: Ward):
    await ward.role.take(batch(window(), window(patient="p-10", minute=1), b"?"))
    events = ward.audited()
    assert sorted(event.action for event in events) == [
        "operation.recorded",
        "operation.recorded",
        "record.dead_lettered",
        "window.quarantined",
        "window.quarantined",
    ]
    assert broken_links(events) == []
    assert "p-10" not in repr(events)
    assert "p-9" not in repr(events)


async def test_the_time_from_window_to_intent_is_measured(ward: Ward):
    await ward.role.take(batch(window()))
    assert "vitalwire_window_to_intent_seconds_sum 2.0" in ward.observer.exposition().decode()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


async def test_a_window_whose_patients_consent_nobody_can_read_waits_in_the_ledger(ward: Ward):
    """Refused here it would be lost when the record is corrected; before anything is sent, consent is asked again."""
    ward.reference.closed.add(("north", "p-9"))
    await ward.role.take(batch(window()))
    assert len(ward.intents()) == 1
    assert ward.quarantined() == []
