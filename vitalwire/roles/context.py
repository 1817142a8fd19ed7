"""What every role stands on: checked configuration, metrics with health, reference data."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.metrics import MetricsServer, PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent import consent_from_fhir
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
    """What every role has: settings, checked configuration, metrics with health, and reference data that is current.

    `config_seen` is what was seen in the files of the configuration as they were read.
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
    """The base of a role, once the reference topics were read to their end. `preparing` says what it has to do first."""
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
