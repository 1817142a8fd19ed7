"""What every role stands on: checked configuration, metrics with health, reference data."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.metrics import MetricsServer, PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent import consent_from_fhir
from schemas.config import Config
from vitalwire.configuration import configuration
from vitalwire.settings import Settings

REFERENCE_WITHIN_S = 60.0


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Base:
    """What every role has: settings, checked configuration, metrics with health, and reference data that is current."""

    settings: Settings
    config: Config
    observer: PrometheusObserver
    reference: KafkaReference
    instance: str


@contextmanager
def base(settings: Settings) -> Iterator[Base]:
    """The base of a role; ready once the reference topics were read to their end."""
    config = configuration(settings.configuration())
    observer = PrometheusObserver()
    with ExitStack() as stack:
        reference = KafkaReference(
            settings.bootstrap_servers(),
            consent_from_fhir=consent_from_fhir,
            observer=observer,
            prefix=settings.topic_prefix,
        )
        metrics = MetricsServer(observer, reference.is_current, host=settings.metrics_host, port=settings.metrics_port)
        stack.callback(metrics.stop)
        reference.start()
        stack.callback(reference.close)
        reference.wait_until_current(REFERENCE_WITHIN_S)
        yield Base(settings, config, observer, reference, f"{socket.gethostname()}-{os.getpid()}")
