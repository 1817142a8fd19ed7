"""A telemetry worker whose own clock is wrong: it decides nothing by it."""

from pathlib import Path

import pytest

from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.monitor import monitor_at

AHEAD = "import time; true = time.time; time.time = lambda: true() + 3600"
BEHIND = "import time; true = time.time; time.time = lambda: true() - 3600"
LOOKS = 3
READINGS = 6


@pytest.mark.parametrize("clock", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_a_worker_clock_an_hour_wrong_makes_no_reading_late_and_no_window_of_one_reading(
    broker: Broker, topic_prefix: str, tmp_path: Path, clock: str
):
    """Silence is elapsed monotonic time. Between two readings the worker looks for windows to close, and finds none."""
    with monitor_at(broker, topic_prefix, tmp_path, idle_s=12) as monitor:
        (worker,) = monitor.site.start("telemetry", after=clock)
        for sent in range(1, READINGS + 1):
            monitor.send()
            wait_until(lambda n=sent: worker.metric("batches_total") >= n, what="the reading being taken")
            looked = worker.metric('kernel_seconds_count{step="close"}')
            wait_until(
                lambda n=looked: worker.metric('kernel_seconds_count{step="close"}') >= n + LOOKS, what="closing passes"
            )

        (window,) = monitor.wait_until_windowed(READINGS)

        assert window["count"] == READINGS
        assert monitor.late() == []
