"""Builds the intents of a closed window, one per endpoint of its tenant, or quarantines it with a reason. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from schemas.config import Config
from schemas.errors import Rejected
from schemas.instants import MICROSECOND, from_epoch_ms
from schemas.operation import Intent, Source
from schemas.ports.reference import ReferenceData
from schemas.reading import QuarantineRecord, SourceRecord
from schemas.reasons import Reason
from schemas.reference import Purpose
from schemas.vitals import PANELS
from schemas.window import Window
from streams.clinical.panels import Group
from streams.consent import is_denial

Render = Callable[[str, Sequence[Window], str], dict[str, Any]]
PURPOSE: Purpose = "vitals"
RESOURCE_TYPE = "Observation"
_PANEL_OF = {member: panel for panel, members in PANELS.items() for member in members}


class QuarantinedWindows(NamedTuple):
    """This result is quarantined for this endpoint (None: for every endpoint)."""

    reason: Reason
    endpoint: str | None
    group: Group


class Unrendered(NamedTuple):
    """The template of this endpoint failed to render a resource; it must be corrected."""

    code: str
    endpoint: str
    group: Group


Decision = Intent | QuarantinedWindows | Unrendered


def build_intents(group: Group, config: Config, reference: ReferenceData, render: Render) -> list[Decision]:
    """One decision per endpoint. None if no member is published; one published member publishes the others too."""
    if not any(arrived.window.publish for arrived in group):
        return []
    window = group[0].window
    tenant = config.tenants.get(window.tenant_id)
    if tenant is None:
        return [QuarantinedWindows(Reason.UNKNOWN_PATIENT, None, group)]
    return [_at(endpoint, group, reference, render) for endpoint in tenant.endpoints]


def quarantine_records(
    quarantined: QuarantinedWindows, topic: str, partition: int, endpoints: Sequence[str]
) -> list[QuarantineRecord]:
    """The quarantined windows as records of `vitals.quarantine`; `index` distinguishes the endpoints of one window."""
    index = endpoints.index(quarantined.endpoint) if quarantined.endpoint in endpoints else 0
    return [
        QuarantineRecord(
            kind="window",
            reason=quarantined.reason,
            tenant_id=arrived.window.tenant_id,
            device_id=arrived.window.device_id,
            source=SourceRecord(topic=topic, partition=partition, offset=arrived.record.offset, index=index),
            arrived=arrived.record.timestamp_ms,
            reading=arrived.window.model_dump(mode="json"),
            endpoint=quarantined.endpoint,
        )
        for arrived in quarantined.group
    ]


def _at(endpoint: str, group: Group, reference: ReferenceData, render: Render) -> Decision:
    windows = [arrived.window for arrived in group]
    first = windows[0]
    patient = reference.patient(first.tenant_id, first.patient_id)
    subject_id = patient.subject_ids.get(endpoint) if patient else None
    if not subject_id:
        return QuarantinedWindows(Reason.UNKNOWN_PATIENT, endpoint, group)
    scope = _PANEL_OF.get(first.type, first.type)
    measured_from, measured_to = _span(windows)
    consent = reference.consent(first.tenant_id, first.patient_id)
    permits = consent is not None and consent.allows(PURPOSE, scope, endpoint, measured_from, measured_to)
    if not permits and is_denial(consent, first.tenant_id, first.patient_id, reference):
        return QuarantinedWindows(
            Reason.NO_CONSENT, endpoint, group
        )  # a consent in doubt is checked again before anything is sent
    payload = _rendered(render, endpoint, group, subject_id)
    if not isinstance(payload, dict):
        return payload
    return Intent(
        tenant_id=first.tenant_id,
        endpoint=endpoint,
        patient_id=first.patient_id,
        subject_id=subject_id,
        purpose=PURPOSE,
        scope=scope,
        resource_type=RESOURCE_TYPE,
        source=_source(windows, measured_from, measured_to),
        content_hash=content_hash(windows, payload),
        payload=payload,
        occurred_at=first.end,
        produced_at=from_epoch_ms(max(a.record.timestamp_ms for a in group)),
    )


def _rendered(
    render: Render, endpoint: str, group: Group, subject_id: str
) -> dict[str, Any] | QuarantinedWindows | Unrendered:
    try:
        return render(endpoint, [arrived.window for arrived in group], subject_id)
    except Rejected as rejected:
        return QuarantinedWindows(rejected.reason, endpoint, group)
    except Exception as fault:  # a site's own template may raise anything; other results go on
        return Unrendered(type(fault).__name__, endpoint, group)


def _source(windows: Sequence[Window], first_time: datetime, last_time: datetime) -> Source:
    return Source(
        event_id=windows[0].window_id,
        part_ids=[window.window_id for window in windows],
        device_id=windows[0].device_id,
        first_time=first_time,
        last_time=last_time,
    )


def _span(windows: Sequence[Window]) -> tuple[datetime, datetime]:
    """From the first to the last reading of all windows; the whole window if it does not contain these times."""
    first = min(window.first_time or window.start for window in windows)
    last = max(window.last_time or window.end - MICROSECOND for window in windows)
    return first, last


def content_hash(windows: Sequence[Window], resource: dict[str, Any]) -> str:
    """Covers the statistics and how they are written, so that a changed mapping amends. Leaves out the subject: a patient id
    that the EHR changed is no new result.
    """
    written = {name: value for name, value in resource.items() if name != "subject"}
    digest = hashlib.sha256(orjson.dumps(written, option=orjson.OPT_SORT_KEYS))
    for window in windows:
        digest.update(window.content_hash.encode())
    return digest.hexdigest()
