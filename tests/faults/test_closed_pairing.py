"""A pairing on Kafka that nobody can read for a moment, or that is removed: no charted result is listed for that alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.metrics import PrometheusObserver
from schemas.correction import Correction
from schemas.operation import Outcome, Source, State
from schemas.topics import PAIRINGS
from streams.delivery.correction_watch import CorrectionWatch
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.doubles.ledgers import intent
from tests.doubles.memory_ledger import MemoryLedger
from tests.reference_topics import ReferenceTopics, pairing

RIGHT = pairing("mon-1", "p0")
MEASURED = datetime.now(UTC)


@pytest.fixture
def topics(broker: Broker, topic_prefix: str) -> Iterator[ReferenceTopics]:
    made = ReferenceTopics(broker.bootstrap_servers, topic_prefix)
    yield made
    made.close()


def chart(ledger: MemoryLedger, number: int) -> None:
    source = Source(
        event_id=f"w{number}", part_ids=[f"w{number}"], device_id="mon-1", first_time=MEASURED,
        last_time=MEASURED + timedelta(seconds=59),
    )  # fmt: skip
    ledger.record([intent(f"w{number}", patient="p0", endpoint="north", subject_id="a", source=source)])
    (claimed,) = ledger.claim("north", 1, 60)
    ledger.settle({claimed.operation_id: Outcome(state=State.SUCCEEDED, fence=claimed.fence)})


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("meanwhile", [RIGHT[:-1] + b",}", None], ids=["a comma too much", "removed"])
async def test_a_pairing_closed_or_gone_for_a_moment_lists_nothing_and_a_corrected_one_lists_each_result_once(
    topics: ReferenceTopics, meanwhile: bytes | None, restarted: bool
) -> None:
    topics.create(2)
    topics.write(PAIRINGS, "mon-1", RIGHT)
    reference, ledger = topics.followed(), MemoryLedger()
    watch = CorrectionWatch(reference, ledger, PrometheusObserver(), lambda: MEASURED, 0.0)
    for number in range(40):
        chart(ledger, number)
    for _ in range(2):
        await watch.look()

    async def written(value: bytes | None, *, known: bool) -> None:
        version = reference.version()
        topics.write(PAIRINGS, "mon-1", value)
        wait_until(lambda: reference.version() > version, what="the record")
        assert (reference.pairing("north", "mon-1") is not None) == known
        for _ in range(3):
            await watch.look()

    for _ in range(2):
        await written(meanwhile, known=False)
        if restarted:
            watch = CorrectionWatch(reference, ledger, PrometheusObserver(), lambda: MEASURED, 0.0)
        await written(RIGHT, known=True)
    assert ledger.records == []
    await written(pairing("mon-1", "p1"), known=True)
    await written(meanwhile, known=False)
    await written(pairing("mon-1", "p1"), known=True)
    listed = [Correction.model_validate_json(record.value or b"").operation_id for record in ledger.records]
    assert sorted(listed) == sorted(ledger.operations)
