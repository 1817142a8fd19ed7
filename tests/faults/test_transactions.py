"""Devices' gateways that send in transactions: what was aborted was never sent, and their markers stop nothing."""

from pathlib import Path

from confluent_kafka import Producer

from schemas.topics import READINGS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.monitor import DEVICE, PARTITION, Monitor, monitor_at

ABORTED, COMMITTED = 20, 179


def transact(monitor: Monitor, readings: int, *, commit: bool, value: int) -> Producer:
    producer = monitor.producer(**{"transactional.id": f"{monitor.site.prefix}gateway"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for _ in range(readings):
        producer.produce(monitor.topic, monitor.reading(value=value), DEVICE, PARTITION)
    assert producer.flush(20) == 0
    if commit:
        producer.commit_transaction(20)
    else:
        producer.abort_transaction(20)
    return producer


def test_aborted_readings_are_in_no_window_and_a_marker_at_the_end_of_the_log_delays_no_closing(
    broker: Broker, topic_prefix: str, tmp_path: Path
):
    with monitor_at(broker, topic_prefix, tmp_path) as monitor:
        monitor.site.start("telemetry")
        transact(monitor, 60, commit=True, value=70)
        transact(monitor, ABORTED, commit=False, value=199)
        transact(monitor, COMMITTED - 60, commit=True, value=71)
        transact(monitor, 1, commit=False, value=198)

        windows = monitor.wait_until_windowed(COMMITTED)

        assert sum(w["count"] for w in windows) == COMMITTED
        assert max(w["max"] for w in windows) == 71
        assert monitor.late() == monitor.quarantined() == []
        monitor.site.wait_until_taken("telemetry", READINGS)


def test_an_open_transaction_is_reported_and_no_reading_behind_it_becomes_late(
    broker: Broker, topic_prefix: str, tmp_path: Path
):
    with monitor_at(broker, topic_prefix, tmp_path, idle_s=1) as monitor:
        (worker,) = monitor.site.start("telemetry")
        hanging = monitor.producer(**{"transactional.id": f"{topic_prefix}hangs"})
        hanging.init_transactions(20)
        hanging.begin_transaction()
        hanging.produce(monitor.topic, monitor.reading(value=199), DEVICE, PARTITION)
        assert hanging.flush(20) == 0
        monitor.send(4)
        wait_until(lambda: worker.metric("partition_uncommitted_records") == 5, what="the records that wait being told")
        wait_until(lambda: worker.metric("partition_uncommitted_seconds") > 2, what="for how long being told")

        hanging.abort_transaction(20)
        (window,) = monitor.wait_until_windowed(4)

        assert (window["count"], window["max"]) == (4, 72)
        assert monitor.late() == []
        wait_until(lambda: worker.metric("partition_uncommitted_records") == 0, what="nothing waiting any more")
