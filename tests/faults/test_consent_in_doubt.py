"""A consent record that nobody can read for a while stops a patient's results, and ends none. On a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import streams.delivery.endpoint_gate
from schemas.operation import Operation, State
from schemas.topics import CONSENTS, PATIENTS
from streams.delivery.review import review
from testbed.brokers import Broker
from tests.delivering import deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, sandbox_ehr
from tests.reference_topics import ReferenceTopics, consent

UNREADABLE = consent("p0")[:-1] + b",}"
WITHDRAWN = consent("p0").replace(b"active", b"inactive")


@pytest.fixture
def topics(broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReferenceTopics]:
    monkeypatch.setattr(streams.delivery.endpoint_gate, "backoff_s", lambda *_: 0.05)
    made = ReferenceTopics(broker.bootstrap_servers, topic_prefix)
    yield made
    made.close()


@pytest.mark.parametrize(("corrected", "ends"), [(consent("p0"), State.SUCCEEDED), (WITHDRAWN, State.QUARANTINED)])
async def test_what_waits_for_a_consent_nobody_can_read_goes_on_when_it_is_corrected(
    topics: ReferenceTopics, tmp_path: Path, corrected: bytes, ends: State
) -> None:
    topics.create(1)
    patient = {"tenant_id": "north", "patient_id": "p0", "subject_ids": {NAME: "p0"}}
    topics.write(PATIENTS, "p0", json.dumps(patient).encode())
    topics.write(CONSENTS, "p0", UNREADABLE)
    reference, ledger, written = topics.followed(), MemoryLedger(), False
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ledger.record([ehr.intent("p0")])

        def operation() -> Operation:
            return ledger.operations["op-1"]

        def ended() -> bool:
            nonlocal written
            if operation().code == "consent_in_doubt" and not written:
                assert operation().state is State.DEFERRED
                written = True
                topics.write(CONSENTS, "p0", corrected)
            return operation().state is ends

        await deliver_until(delivery(ehr, ledger, review=lambda one, at: review(one, reference, at)), ended)
        assert written
        assert len(ehr.observations("p0")) == (ends is State.SUCCEEDED)


def test_a_closed_key_is_distinguished_from_a_missing_key(topics: ReferenceTopics) -> None:
    topics.create(2)
    topics.write(CONSENTS, "p0", UNREADABLE)
    topics.write(CONSENTS, "p1", consent("p1"))
    reference = topics.followed()
    assert [reference.consent_in_doubt("north", patient) for patient in ("p0", "p1", "p2")] == [True, False, False]
