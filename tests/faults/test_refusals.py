"""What is cheap to send and dear to refuse, on the real worker: it stays small, and everybody else is served."""

from pathlib import Path

import pytest

from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.monitor import DEVICE, PARTITION, monitor_at
from tests.system.recording import TENANT

FRAMES, IN_A_FRAME = 100, 5_000
MOST_MIB = 1_000
"""The interpreter with all that telemetry stands on takes a third of it."""


@pytest.mark.long
def test_half_a_million_refusals_in_a_mebibyte_do_not_swell_the_worker(
    broker: Broker, topic_prefix: str, tmp_path: Path
):
    frame = b'{"tenant_id":"%s","device_id":"%s","readings":[%s]}'
    hostile = frame % (TENANT.encode(), DEVICE.encode(), b",".join([b"1"] * IN_A_FRAME))
    with monitor_at(broker, topic_prefix, tmp_path) as monitor:
        (worker,) = monitor.site.start("telemetry")
        producer = monitor.producer(**{"compression.type": "zstd", "linger.ms": 100})
        for _ in range(FRAMES):
            producer.produce(monitor.topic, hostile, DEVICE, PARTITION)
        assert producer.flush(20) == 0
        monitor.send(3)

        wait_until(lambda: worker.metric("readings_total{") >= FRAMES * IN_A_FRAME, 200, what="all refused")
        monitor.wait_until_windowed(3)

        assert worker.most_mib() < MOST_MIB
