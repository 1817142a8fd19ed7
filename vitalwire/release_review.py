"""Compares held operations with the current reference data before they are released, as every attempt does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from adapters.ledger import SqlLedger
from adapters.metrics import PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent.resource import consent_from_fhir
from schemas.operation import Operation, State
from schemas.ports.reference import ReferenceData
from streams.delivery.review import Readdress, Stop, review
from vitalwire.configuration import read_configuration
from vitalwire.roles.context import REFERENCE_WITHIN_S, now
from vitalwire.settings import Settings


class Compared(NamedTuple):
    """Operation ids that may be released, those readdressed to a corrected patient id, and those that stay held, with codes."""

    ready: list[str]
    readdressed: list[str]
    kept: dict[str, str]


def compared_with_records(settings: Settings, ledger: SqlLedger, operation_ids: Sequence[str]) -> Compared:
    """Compare the named operations that are held. RetryLater if reference data cannot be read: none is released unchecked."""
    named = (ledger.operation(operation_id) for operation_id in operation_ids)
    held = [operation for operation in named if operation is not None and operation.state is State.HELD]
    if not held:
        return Compared([], [], {})
    with current_reference(settings) as reference:
        return compared(held, reference, now())


def compared(held: Iterable[Operation], reference: ReferenceData, at: datetime) -> Compared:
    """Review each operation as delivery does."""
    found = Compared([], [], {})
    for operation in held:
        reviewed = review(operation, reference, at)
        if isinstance(reviewed, Stop):
            found.kept[operation.operation_id] = reviewed.code
            continue
        found.ready.append(operation.operation_id)
        if isinstance(reviewed, Readdress):
            found.readdressed.append(operation.operation_id)
    return found


@contextmanager
def current_reference(settings: Settings) -> Iterator[ReferenceData]:
    """Current pairings, patients and consents; denials are interpreted by the configuration, as in a worker."""
    config = read_configuration(settings.configuration()).config
    reference = KafkaReference(
        settings.bootstrap_servers(),
        consent_from_fhir=consent_from_fhir,
        understand=config.understood,
        observer=PrometheusObserver(),
        prefix=settings.topic_prefix,
    )
    reference.start()
    try:
        reference.wait_until_current(REFERENCE_WITHIN_S)
        yield reference
    finally:
        reference.close()
