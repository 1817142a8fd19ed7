"""What the clinical role does not chart: quarantined windows, dead letters, and consent."""

from datetime import datetime, timedelta

import pytest

from schemas.topics import DLQ_CLINICAL
from tests.doubles.clinical_role import ClinicalHarness
from tests.doubles.ledgers import reported_windows
from tests.doubles.windows import START, batch, pressure, window


async def test_a_patient_unknown_at_one_endpoint_is_quarantined_there_and_charted_at_the_other(
    clinical: ClinicalHarness,
):
    clinical.reference.admit("p-9", north_fhir="fhir-9")
    quarantined = window()
    await clinical.role.process(batch(quarantined))
    assert len(clinical.intents("north-fhir")) == 1
    assert clinical.intents("north-epic") == []
    (kept,) = clinical.quarantined()
    assert (kept["kind"], kept["reason"], kept["endpoint"]) == ("window", "unknown_patient", "north-epic")
    assert kept["source"] == {
        "topic": "vitals.windows",
        "partition": 0,
        "offset": 0,
        "index": 1,
        "last_offset": None,
    }
    assert kept["reading"]["window_id"] == quarantined.window_id


async def test_a_patient_without_a_record_is_quarantined_everywhere(clinical: ClinicalHarness):
    await clinical.role.process(batch(window(patient="p-10")))
    assert clinical.ledger.states() == {}
    assert [(k["reason"], k["endpoint"]) for k in clinical.quarantined()] == [
        ("unknown_patient", "north-fhir"),
        ("unknown_patient", "north-epic"),
    ]


async def test_no_consent_is_no_chart(clinical: ClinicalHarness):
    del clinical.reference.consents["north", "p-9"]
    await clinical.role.process(batch(window()))
    assert clinical.ledger.states() == {}
    assert {k["reason"] for k in clinical.quarantined()} == {"no_consent"}


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
    clinical: ClinicalHarness, since: datetime | None, until: datetime | None, says: dict[str, datetime]
):
    clinical.permit_during(since, until)
    await clinical.role.process(batch(window(**says), *pressure(**says)))
    assert clinical.ledger.states() == {}
    assert {k["reason"] for k in clinical.quarantined()} == {"no_consent"}


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        (START, START + timedelta(minutes=1), {}),
        (START + timedelta(seconds=5), START + timedelta(seconds=50), {"first_time": 5, "last_time": 49}),
    ],
)
async def test_consent_from_first_to_last_reading_is_enough(
    clinical: ClinicalHarness, since: datetime, until: datetime, says: dict[str, int]
):
    clinical.permit_during(since, until)
    measured = {name: START + timedelta(seconds=second) for name, second in says.items()}
    await clinical.role.process(batch(window(**measured)))
    (charted,) = clinical.intents()
    assert (charted.source.device_id, charted.scope) == ("mon-17", "heart_rate")
    assert charted.source.first_time == measured.get("first_time", START)
    assert charted.source.last_time == measured.get("last_time", START + timedelta(minutes=1, microseconds=-1))


async def test_a_tenant_that_is_not_configured_is_quarantined(clinical: ClinicalHarness):
    await clinical.role.process(batch(window(tenant_id="south")))
    (kept,) = clinical.quarantined()
    assert (kept["reason"], kept["endpoint"]) == ("unknown_patient", None)


@pytest.mark.parametrize("poison", [b"", b"{", b"\xff\x00", b"[]", b'{"window_id": 1}', b"null"])
async def test_bytes_that_are_no_window_go_to_the_dead_letters_and_harm_no_neighbour(
    clinical: ClinicalHarness, poison: bytes
):
    await clinical.role.process(batch(window(), poison, window(minute=1)))
    assert len(reported_windows(clinical.ledger)) == 2
    (letter,) = clinical.producer.to(DLQ_CLINICAL)
    assert letter.value == poison
    assert letter.key == b"north|p-9"
    assert dict(letter.headers) == {
        "__streams.errors.exception": b"malformed",
        "__streams.errors.topic": b"vitals.windows",
        "__streams.errors.partition": b"0",
        "__streams.errors.offset": b"1",
    }
    assert clinical.role.settled() == {0: 3}


async def test_a_template_that_fails_for_a_window_harms_no_neighbour_and_no_other_endpoint(clinical: ClinicalHarness):
    whole = clinical.mappers["north-epic"]

    class Broken:
        def render(self, windows: list, subject: str) -> dict:
            if windows[0].last == 72:
                raise ZeroDivisionError("CANARY")
            return whole.render(windows, subject)

    clinical.mappers["north-epic"] = Broken()
    await clinical.role.process(batch(window(value=72), window(value=73, minute=1)))
    assert len(reported_windows(clinical.ledger)) == 2
    assert len(clinical.intents("north-epic")) == 1
    (letter,) = clinical.producer.to(DLQ_CLINICAL)
    assert dict(letter.headers)["__streams.errors.exception"] == b"ZeroDivisionError"
    assert b"CANARY" not in repr(letter.headers).encode()


async def test_a_window_whose_patients_consent_nobody_can_read_waits_in_the_ledger(clinical: ClinicalHarness):
    """Quarantined here it would be lost when the record is corrected; before anything is sent, consent is asked again."""
    clinical.reference.closed.add(("north", "p-9"))
    await clinical.role.process(batch(window()))
    assert len(clinical.intents()) == 1
    assert clinical.quarantined() == []
