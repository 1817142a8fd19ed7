import asyncio

import pytest

from adapters.metrics import PrometheusObserver
from schemas.messages import AuditEvent
from schemas.operation import Operation, Outcome, State
from schemas.topics import AUDIT
from streams.audit import broken_links
from streams.settlement_audit import SettlementAudit
from tests.doubles.intents import intent
from tests.doubles.ports import MemoryProducer, delivery_audit, fixed_clock

QUIETLY_S = 20.0


def settled(number: int, state: State, code: str | None = None) -> tuple[Operation, Outcome]:
    operation = Operation(
        operation_id=f"op-{number}",
        sequence=number,
        intent=intent(f"w{number}"),
        state=State.IN_PROGRESS,
        created_at=fixed_clock(),
    )
    again_s = 1.0 if state in (State.DEFERRED, State.UNKNOWN) else None
    return operation, Outcome(
        state=state, fence=0, code=code, request=b"CANARY", response=b"CANARY", retry_after_s=again_s
    )


def audited(producer: MemoryProducer) -> list[AuditEvent]:
    return [AuditEvent.model_validate_json(record.value or b"") for record in producer.to(AUDIT)]


async def test_each_end_of_an_operation_is_one_event_and_what_will_be_tried_again_is_none():
    producer = MemoryProducer()
    audit = SettlementAudit(delivery_audit(PrometheusObserver(), producer))

    audit.settled(settled(n, state, f"code-{state}") for n, state in enumerate(State))
    await audit.finish(QUIETLY_S)

    assert {(e.action, e.outcome, e.reason) for e in audited(producer)} == {
        ("observation.charted", "success", "code-succeeded"),
        ("operation.failed", "failure", "code-failed"),
        ("operation.held", "failure", "code-held"),
        ("operation.quarantined", "refused", "code-quarantined"),
    }
    assert broken_links(audited(producer)) == []


async def test_an_event_names_operation_endpoint_and_window_and_nothing_of_the_patient():
    producer = MemoryProducer()
    audit = SettlementAudit(delivery_audit(PrometheusObserver(), producer))

    audit.settled([settled(7, State.SUCCEEDED)])
    await audit.finish(QUIETLY_S)

    (event,) = audited(producer)
    assert (event.tenant_id, event.role, event.operation_id, event.endpoint, event.source) == (
        "north", "delivery", "op-7", "north-epic", "w7"
    )  # fmt: skip
    assert "CANARY" not in event.model_dump_json()


async def test_nobody_waits_while_kafka_is_away_and_nothing_is_lost_when_it_is_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.backoff.FIRST_S", 0.001)
    producer = MemoryProducer()
    producer.away = 3
    audit = SettlementAudit(delivery_audit(PrometheusObserver(), producer))

    for number in range(5):
        audit.settled([settled(number, State.SUCCEEDED)])
        await asyncio.sleep(0)
    assert audited(producer) == []
    await audit.finish(QUIETLY_S)

    assert [event.operation_id for event in audited(producer)] == [f"op-{number}" for number in range(5)]
    assert broken_links(audited(producer)) == []


async def test_a_worker_that_stops_gives_up_what_kafka_does_not_take_and_says_how_much(
    caplog: pytest.LogCaptureFixture,
):
    producer = MemoryProducer()
    producer.away = 1_000_000
    audit = SettlementAudit(delivery_audit(PrometheusObserver(), producer))

    audit.settled([settled(1, State.SUCCEEDED), settled(2, State.HELD)])
    await asyncio.sleep(0)
    audit.settled([settled(3, State.FAILED)])
    await audit.finish(0.01)

    assert "3 audit events were not confirmed" in caplog.text
    assert "CANARY" not in caplog.text
