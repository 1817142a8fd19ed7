"""The reconciliation report of a running system, from its topics and its ledger."""

from __future__ import annotations

from adapters.topic_reader import KafkaTopicReader
from schemas.ports import Ledger
from schemas.report import ReconciliationReport
from streams.reconciliation import reconcile
from vitalwire.settings import Settings


def reconciled(settings: Settings, ledger: Ledger) -> ReconciliationReport:
    """Count everything anew."""
    return reconcile(KafkaTopicReader(settings.bootstrap_servers(), prefix=settings.topic_prefix), ledger)
