"""How the ledger stores an intent: every form that a version has written is read, and nothing is lost on the way."""

from datetime import UTC, datetime

import orjson
import pytest

from adapters.ledger.intent_form import decode, encode
from schemas.operation import Intent, ReplyTo, Source
from tests.doubles.ledgers import NOW, intent

WINDOW = {
    "tenant_id": "north",
    "endpoint": "north-epic",
    "patient_id": "p-9",
    "subject_id": "eAB3",
    "resource_type": "Observation",
    "source_event_id": "w1",
    "content_hash": "c1",
    "source_ids": ["w1", "w2"],
    "vital_type": "blood_pressure",
    "measured_at": "2026-01-05T10:01:00Z",
    "resource": {"resourceType": "Observation", "valueQuantity": {"value": 36.6}},
}
SPAN = {"device_id": "mon-17", "first_time": "2026-01-05T10:00:01Z", "last_time": "2026-01-05T10:00:59Z"}


def test_an_intent_with_everything_is_the_same_after_it_was_stored():
    command = intent("c-1").model_copy(
        update={
            "purpose": "documents",
            "source": Source(kind="command", event_id="c-1", part_ids=["c-1"]),
            "reply_to": ReplyTo(command_id="c-1", topic="replies.documents"),
        }
    )
    for one in (command, intent("w1", device="mon-17"), intent("w1", sources=2)):
        assert decode(encode(one)) == one


@pytest.mark.parametrize("span", [{}, SPAN])
@pytest.mark.parametrize("closed", [{}, {"window_closed_at": "2026-01-05T10:01:11.000123Z"}])
def test_an_intent_of_the_first_form_is_one_of_a_window_for_vitals(span: dict[str, str], closed: dict[str, str]):
    assert decode(orjson.dumps(WINDOW | span | closed)) == Intent(
        tenant_id="north",
        endpoint="north-epic",
        patient_id="p-9",
        subject_id="eAB3",
        purpose="vitals",
        scope="blood_pressure",
        resource_type="Observation",
        source=Source.model_validate({"kind": "window", "event_id": "w1", "part_ids": ["w1", "w2"]} | span),
        content_hash="c1",
        reply_to=None,
        payload=WINDOW["resource"],
        occurred_at=datetime(2026, 1, 5, 10, 1, tzinfo=UTC),
        produced_at=datetime(2026, 1, 5, 10, 1, 11, 123, tzinfo=UTC) if closed else None,
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"version":2}',
        b'{"version":2,"intent":[]}',
        b'{"version":"2","intent":{}}',
        encode(intent("w1")).replace(b'"version":2', b'"version":3'),
        orjson.dumps({name: value for name, value in WINDOW.items() if name != "vital_type"}),
        orjson.dumps(WINDOW | {"measured_at": "yesterday"}),
    ],
)
def test_what_is_no_intent_of_a_known_form_is_not_read(content: bytes):
    assert decode(content) is None


def test_the_instant_of_a_stored_intent_is_exact():
    stored = decode(encode(intent("w1")))
    assert stored is not None
    assert stored.occurred_at == NOW
