"""A partition that does not move ends its worker; one that moves, or moved away, does not."""

from confluent_kafka import Consumer, TopicPartition

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.stall_watchdog import StallWatchdog
from adapters.metrics import PrometheusObserver
from schemas.ports.kafka import Outgoing
from schemas.topics import WINDOWS
from tests.conditions import wait_until


def commit(kafka: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "watched"})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


async def test_a_partition_that_does_not_move_though_there_is_something_to_read_ends_the_worker(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, 0) for n in range(5)])
    commit(kafka, topic, 2)
    reasons: list[str] = []
    observer = PrometheusObserver()
    watchdog = StallWatchdog(kafka, "watched", lambda: {topic: [0, 1]}, observer, stall_after_s=1.0, end=reasons.append)
    watchdog.start()
    reason = wait_until(lambda: reasons and reasons[0], what="the end")
    watchdog.stop()
    assert f"{topic} partition 0 stays at offset 2 of 5" in reason
    assert f'partition_lag{{partition="0",topic="{topic}"}} 3.0' in observer.exposition().decode()
    assert not any("partition 1" in told for told in reasons)


async def test_a_partition_that_moves_is_left_alone(kafka: str, topic_prefix: str, producer: KafkaProducer):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, 0) for n in range(200)])
    reasons: list[str] = []
    looks: list[int] = []

    def assigned() -> dict[str, list[int]]:
        looks.append(len(looks))
        commit(kafka, topic, len(looks))
        return {topic: [0]}

    watchdog = StallWatchdog(kafka, "watched", assigned, PrometheusObserver(), stall_after_s=1.0, end=reasons.append)
    watchdog.start()
    wait_until(lambda: len(looks) > 12, what="a dozen looks")
    watchdog.stop()
    assert reasons == []


async def test_the_lag_of_a_partition_that_moved_to_another_worker_is_no_longer_shown(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, n % 2) for n in range(6)])
    observer = PrometheusObserver()
    mine = [0, 1]

    def lags() -> list[float | None]:
        name = "vitalwire_partition_lag"
        return [observer.registry.get_sample_value(name, {"topic": topic, "partition": p}) for p in ("0", "1")]

    watchdog = StallWatchdog(kafka, "watched", lambda: {topic: mine}, observer, stall_after_s=2.0, end=lambda _: None)
    watchdog.start()
    wait_until(lambda: lags() == [3, 3], what="the lag of both")
    mine.remove(1)
    wait_until(lambda: lags() == [3, 0], what="the lag of one")
    watchdog.stop()
