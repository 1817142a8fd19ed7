"""One monitor of one patient at a site without an EHR: what is sent of it, and what telemetry makes of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer

from schemas.reading import QuarantineRecord
from schemas.topics import LATE_READINGS, PAIRINGS, QUARANTINE, READINGS, TopicSpec
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.installation import Installation
from tests.system.recording import BASE_MS, TENANT

NOWHERE = {"kind": "fhir", "base_url": "http://127.0.0.1:9"}
DEVICE = "monitor-1"
PARTITION = 0


class Monitor:
    """Sends to one partition, in order, each reading a tenth of a second after the last."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        self.topic = READINGS.prefixed(site.prefix)
        self.sent = 0

    def reading(self, **changed: Any) -> bytes:
        """The next reading as JSON."""
        plain = {"tenant_id": TENANT, "device_id": DEVICE, "type": "heart_rate", "value": 72, "unit": "/min"}
        self.sent += 1
        return orjson.dumps(plain | {"time": BASE_MS + self.sent * 100} | changed)

    def send(self, count: int = 1) -> None:
        """So many readings, confirmed."""
        producer = self.producer()
        for _ in range(count):
            producer.produce(self.topic, self.reading(), DEVICE, PARTITION)
        assert producer.flush(20) == 0

    def producer(self, **settings: Any) -> Producer:
        """A producer to this site's broker."""
        return Producer({"bootstrap.servers": self.site.bootstrap_servers, "log_level": 0} | settings)

    def windows(self) -> list[dict[str, Any]]:
        """All windows that are out."""
        return [orjson.loads(window) for window in self.site.windows().values()]

    def wait_until_windowed(self, readings: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """The windows, when so many readings are in them."""
        wait_until(
            lambda: sum(w["count"] for w in self.windows()) >= readings, timeout_s, what=f"{readings} readings windowed"
        )
        return self.windows()

    def quarantined(self, topic: TopicSpec = QUARANTINE) -> list[QuarantineRecord]:
        """What was refused, or came late."""
        return [QuarantineRecord.model_validate_json(stored.value or b"") for stored in self.site.records(topic)]

    def late(self) -> list[QuarantineRecord]:
        """What came late."""
        return self.quarantined(LATE_READINGS)


@contextmanager
def monitor_at(broker: Broker, prefix: str, directory: Path, *, idle_s: int = 3) -> Iterator[Monitor]:
    """A monitor with its patient at a new site; no worker runs yet."""
    with Installation(broker.bootstrap_servers, prefix, directory / "site", NOWHERE, idle_s=idle_s) as site:
        monitor = Monitor(site)
        interval = {"patient_id": "p-1", "from": "2020-01-01T00:00:00Z"}
        pairing = {"tenant_id": TENANT, "device_id": DEVICE, "intervals": [interval]}
        producer = monitor.producer()
        producer.produce(PAIRINGS.prefixed(prefix), orjson.dumps(pairing), f"{TENANT}|{DEVICE}")
        assert producer.flush(20) == 0
        yield monitor
