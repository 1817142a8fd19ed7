"""Every metric there is, as data: name, kind, labels, help. On the wire each name begins with `vitalwire_`.

Labels are codes, endpoint names, topics and partitions. Never a patient, a device, a tenant's person or a value measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

FAST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
JOURNEY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what it is called, what it counts, and which labels every sample must carry."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, "counter", about, labels)


def _gauge(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, "gauge", about, labels)


def _seconds(name: str, about: str, *labels: str, buckets: tuple[float, ...] = FAST_BUCKETS_S) -> Metric:
    return Metric(name, "histogram", about, labels, buckets)


_TELEMETRY = (
    _counter(
        "readings_total",
        "readings judged; outcome windowed, duplicate, quarantined or late; reason is the code, else empty",
        "outcome",
        "reason",
    ),
    _counter("readings_removed_unread_total", "records that retention removed before they were read", "partition"),
    _counter("batches_total", "batches taken from Kafka", "topic"),
    _gauge("batch_readings", "readings in the batch taken last"),
    _gauge("partition_lag", "records between the committed offset and the end of the partition", "topic", "partition"),
    _gauge(
        "partition_uncommitted_records",
        "records that are not read yet, for an open transaction stands before them",
        "topic",
        "partition",
    ),
    _gauge("partition_uncommitted_seconds", "for how long that transaction has been open", "topic", "partition"),
    _gauge(
        "watermark_age_seconds",
        "arrival clock less the end of the earliest window still open; 0 where none is, or none has ended",
        "partition",
    ),
    _gauge("open_readings", "readings in windows still open", "partition"),
    _counter("windows_total", "windows closed; cause is empty where the window is not published", "publish", "cause"),
    _seconds("kernel_seconds", "time the window kernel took; step is ingest or close", "step"),
    _seconds(
        "measurement_to_window_seconds",
        "end of the window's event time to its record on vitals.windows",
        buckets=JOURNEY_BUCKETS_S,
    ),
    _counter("rebalances_total", "partitions assigned or revoked", "event"),
)

_CLINICAL = (
    _counter(
        "clinical_windows_total",
        "windows judged for the chart, once an endpoint; outcome recorded, duplicate, amended, not_published, "
        "quarantined or dead_letter; reason is the code, else empty",
        "outcome",
        "reason",
    ),
    _counter("dead_letters_total", "records that could not be decoded, or windows not rendered", "stage", "code"),
    _counter("audit_events_total", "audit events confirmed by Kafka", "action", "outcome"),
    _seconds("window_to_intent_seconds", "window produced to intent durable", buckets=JOURNEY_BUCKETS_S),
    _gauge("outbox_age_seconds", "how long the oldest record of the ledger's outbox has waited to be published"),
    _seconds("ledger_seconds", "time one call of the ledger took", "call"),
    _counter("retries_total", "work tried again because a dependency was away", "dependency"),
)

_REFERENCE = (
    _counter(
        "reference_malformed_total", "reference records that could not be understood; their key is closed", "topic"
    ),
    _gauge("reference_records", "keys known from a reference topic", "topic"),
    _gauge(
        "reference_closed_keys",
        "keys closed until they are written again; cause in_doubt or unreadable",
        "topic",
        "cause",
    ),
    _gauge("reference_split_keys", "keys that more than one partition has held", "topic"),
    _gauge("reference_current", "1 while every reference topic is known to be read to its end"),
)

_DELIVERY = (
    _counter("ledger_went_back_total", "starts that found a ledger that had lost what it confirmed"),
    _gauge("ledger_operations", "operations in the ledger, told every few seconds", "endpoint", "state"),
    _counter(
        "stale_outcomes_total",
        "outcomes that came after their lease, when another worker had the operation; kept as evidence only",
        "endpoint",
    ),
    _counter("verdicts_total", "attempts judged, by the state they led to", "endpoint", "state"),
    _counter(
        "ehr_requests_total",
        "calls to an EHR; status is the HTTP status, or `none` without an answer",
        "endpoint",
        "operation",
        "status",
    ),
    _seconds("ehr_request_seconds", "time an EHR took to answer", "endpoint", "operation"),
    _counter("corrections_total", "charted results listed for a person, by what was corrected since", "cause"),
    _counter("token_requests_total", "calls to a token endpoint", "endpoint", "outcome"),
    _seconds(
        "intent_to_charted_seconds", "intent durable to accepted by the EHR", "endpoint", buckets=JOURNEY_BUCKETS_S
    ),
    _seconds(
        "window_to_charted_seconds", "window produced to accepted by the EHR", "endpoint", buckets=JOURNEY_BUCKETS_S
    ),
)

_ROLE = (
    _gauge("worker_ready", "1 while the role does its work", "role"),
    _counter("configuration_reloads_total", "changed configurations; outcome accepted or refused", "outcome"),
)

CATALOGUE: dict[str, Metric] = {m.name: m for m in (*_TELEMETRY, *_CLINICAL, *_REFERENCE, *_DELIVERY, *_ROLE)}
