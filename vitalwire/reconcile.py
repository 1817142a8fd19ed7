"""The reconciliation report of a running system, from its topics and its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.reconciliation import reconciliation_store
from schemas.config import Config
from schemas.ports.kafka import ConsumedRecord
from schemas.ports.ledger import Ledger
from schemas.report import ReconciliationReport
from schemas.topics import READINGS, WINDOWS, TopicSpec
from streams.reconcile import reconcile
from streams.reconcile.rereading import BoundedReading
from streams.runtime.fetching import set_limits
from streams.runtime.record_batches import Limits
from vitalwire.configuration import read_configuration
from vitalwire.settings import Settings


class _Topics:
    """Readings, which others send, are read within limits; topics of this system without."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._own = KafkaTopicReader(bootstrap_servers, prefix=prefix)
        self._sent = BoundedReading(bootstrap_servers, prefix)

    def read(self, topic: TopicSpec) -> Iterable[ConsumedRecord]:
        if topic == READINGS:
            return self._sent.read(topic, self.first_offsets(topic))
        return self._own.read(topic)

    def first_offsets(self, topic: TopicSpec) -> Mapping[int, int]:
        return self._own.first_offsets(topic)


def reconciled(settings: Settings, ledger: Ledger) -> ReconciliationReport:
    """Count everything. Batches are decompressed within the workers' limits, if a configuration is given."""
    configured = read_configuration(settings.config_file).config if settings.config_file else Config()
    set_limits(Limits(configured.telemetry.max_record_bytes, configured.telemetry.max_batch_bytes))
    topics = _Topics(settings.bootstrap_servers(), settings.topic_prefix)
    with reconciliation_store() as store:
        return reconcile(topics, ledger, store, WINDOWS.prefixed(settings.topic_prefix))
