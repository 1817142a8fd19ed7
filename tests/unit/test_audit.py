from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics import PrometheusObserver
from schemas.audit import AuditEvent, event_hash
from schemas.topics import AUDIT
from streams.audit.trail import AuditChain, AuditTrail, Step
from streams.audit.verification import broken_links, trail
from tests.doubles.ports import MemoryProducer, fixed_clock

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
STEPS = st.lists(
    st.builds(
        Step,
        tenant_id=st.sampled_from(["north", "south"]),
        action=st.sampled_from(["observation.charted", "window.quarantined"]),
        outcome=st.sampled_from(["success", "refused"]),
        source=st.text(max_size=5),
    ),
    min_size=1,
    max_size=12,
)


def chained(steps: list[Step]) -> list[AuditEvent]:
    return AuditChain("clinical", "c-1").extend(steps, AT)


@given(STEPS)
def test_a_chain_as_written_holds_read_back_from_json_and_with_repeats(steps: list[Step]):
    events = [AuditEvent.model_validate_json(event.model_dump_json()) for event in chained(steps)]
    assert broken_links(events) == []
    assert broken_links(events + events) == []


@given(STEPS, st.data())
def test_a_changed_event_is_found(steps: list[Step], data: st.DataObject):
    events = chained(steps)
    at = data.draw(st.integers(0, len(events) - 1))
    events[at] = events[at].model_copy(update={"action": "changed"})
    assert events[at].event_id in broken_links(events)


@given(STEPS, st.data())
def test_a_changed_event_with_a_recomputed_hash_is_found_by_the_event_after_it(steps: list[Step], data: st.DataObject):
    events = chained([*steps, *steps])
    at = data.draw(st.integers(0, len(steps) - 1))
    forged = events[at].model_copy(update={"action": "changed"})
    events[at] = forged.model_copy(update={"hash": event_hash(forged)})
    assert broken_links(events)


@given(STEPS, st.data())
def test_a_missing_event_is_found_by_the_one_after_it(steps: list[Step], data: st.DataObject):
    events = chained([*steps, *steps])
    at = data.draw(st.integers(0, len(steps) - 1))
    is_first = int(events[at].event_id.rpartition("/")[2]) == 0
    del events[at]
    assert bool(broken_links(events)) is not is_first


@given(STEPS, st.data())
def test_a_chain_whose_beginning_was_removed_by_retention_is_valid_and_reports_where_it_begins(
    steps: list[Step], data: st.DataObject
):
    events = chained([*steps, *steps])
    kept = events[data.draw(st.integers(0, len(events) - 1)) :]
    assert broken_links(kept) == []
    begins = {chain.tenant_id: chain.first for chain in trail(kept).chains}
    for tenant_id, first in begins.items():
        assert first == sum(event.tenant_id == tenant_id for event in events) - sum(
            event.tenant_id == tenant_id for event in kept
        )


@given(STEPS)
def test_a_first_event_that_names_one_before_it_is_broken(steps: list[Step]):
    event = chained([*steps, *steps])[0]
    forged = event.model_copy(update={"previous": "0" * 64})
    assert broken_links([forged.model_copy(update={"hash": event_hash(forged)})]) == [event.event_id]


def test_two_writers_have_chains_of_their_own():
    step = Step("north", "observation.charted", "success")
    first, second = AuditChain("delivery", "d-1"), AuditChain("delivery", "d-2")
    events = [*first.extend([step], AT), *second.extend([step], AT), *first.extend([step], AT)]
    assert broken_links(events) == []
    assert [event.previous is None for event in events] == [True, True, False]


def test_an_event_without_a_number_is_broken():
    (event,) = chained([Step("north", "observation.charted", "success")])
    odd = event.model_copy(update={"event_id": "odd"})
    assert broken_links([odd.model_copy(update={"hash": event_hash(odd)})]) == ["odd"]


async def test_steps_are_written_once_confirmed_in_the_order_of_their_chain(monkeypatch: pytest.MonkeyPatch):
    producer = MemoryProducer()
    producer.away = 2
    observer = PrometheusObserver()
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    trail = AuditTrail(AuditChain("delivery", "d-1"), producer, fixed_clock, observer)
    await trail.write([Step("north", "observation.charted", "success"), Step("north", "operation.failed", "failure")])
    events = [AuditEvent.model_validate_json(record.value) for record in producer.to(AUDIT)]
    assert [event.action for event in events] == ["observation.charted", "operation.failed"]
    assert broken_links(events) == []
    assert 'audit_events_total{action="operation.failed",outcome="failure"} 1.0' in observer.exposition().decode()


async def test_nothing_to_write_sends_nothing():
    producer = MemoryProducer()
    await AuditTrail(AuditChain("delivery", "d-1"), producer, fixed_clock, PrometheusObserver()).write([])
    assert producer.sent == []
