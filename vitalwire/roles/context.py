"""The context of every role: validated configuration, metrics with health checks, reference data, a producer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.kafka.producer import KafkaProducer
from adapters.metrics import MetricsServer, PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent.resource import consent_from_fhir
from schemas.config import Config
from vitalwire.configuration import read_configuration
from vitalwire.roles.readiness import Readiness
from vitalwire.settings import Settings

REFERENCE_WITHIN_S = 60.0


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RoleContext:
    """Settings, checked configuration, metrics with health, and current reference data.

    `config_seen` holds a fingerprint of each configuration file as it was read.
    """

    settings: Settings
    config: Config
    observer: PrometheusObserver
    reference: KafkaReference
    readiness: Readiness
    instance: str
    config_seen: Mapping[str, bytes]


@contextmanager
def role_context(settings: Settings, preparing: str | None = None) -> Iterator[RoleContext]:
    """A role's context, once the reference topics are read to their end. The role is not ready while it is `preparing`."""
    config, config_seen = read_configuration(settings.configuration())
    observer = PrometheusObserver()
    with ExitStack() as stack:
        reference = KafkaReference(
            settings.bootstrap_servers(),
            consent_from_fhir=consent_from_fhir,
            understand=config.understood,
            observer=observer,
            prefix=settings.topic_prefix,
        )
        readiness = Readiness(reference.is_current, preparing)
        metrics = MetricsServer(observer, readiness.waits_for, host=settings.metrics_host, port=settings.metrics_port)
        stack.callback(metrics.stop)
        reference.start()
        stack.callback(reference.close)
        reference.wait_until_current(REFERENCE_WITHIN_S)
        instance = f"{socket.gethostname()}-{os.getpid()}"
        yield RoleContext(settings, config, observer, reference, readiness, instance, config_seen)


@contextmanager
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    """The idempotent producer."""
    opened = KafkaProducer(settings.bootstrap_servers(), prefix=settings.topic_prefix)
    try:
        yield opened
    finally:
        opened.close()
