"""Every metric, as data: name, kind, help, labels. The exported names begin with `vitalwire_`.

Labels are codes, endpoint names, topics and partitions; never a patient, a device, a person or a measured value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

FAST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
JOURNEY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, its help text, and the labels that every sample must have."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(name, "counter", help_text, labels)


def _gauge(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", help_text, labels)


def _seconds(name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = FAST_BUCKETS_S) -> Metric:
    return Metric(name, "histogram", help_text, labels, buckets)


_TELEMETRY = (
    _counter(
        "readings_total",
        "readings processed; outcome windowed, duplicate, quarantined or late; reason is the code, else empty",
        "outcome",
        "reason",
    ),
    _counter("readings_removed_unread_total", "records that retention removed before they were read", "partition"),
    _counter("batches_total", "batches fetched from Kafka", "topic"),
    _gauge("batch_readings", "readings in the last batch"),
    _gauge("partition_lag", "records between the committed offset and the end of the partition", "topic", "partition"),
    _gauge(
        "partition_uncommitted_records",
        "records that cannot be read yet because an open transaction precedes them",
        "topic",
        "partition",
    ),
    _gauge("partition_uncommitted_seconds", "how long that transaction has been open", "topic", "partition"),
    _gauge(
        "watermark_age_seconds",
        "arrival clock minus the end of the earliest open window; 0 if none is open, or none has ended",
        "partition",
    ),
    _gauge("open_readings", "readings in open windows", "partition"),
    _counter("windows_total", "windows closed; cause is empty if the window is not published", "publish", "cause"),
    _seconds("kernel_seconds", "duration of the window kernel; step is ingest or close", "step"),
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
        "windows processed for the chart, once per endpoint; outcome recorded, duplicate, amended, not_published, "
        "quarantined or dead_letter; reason is the code, else empty",
        "outcome",
        "reason",
    ),
    _counter("windows_removed_unread_total", "windows that retention removed before they were read", "partition"),
    _counter("dead_letters_total", "records that could not be decoded, or windows not rendered", "stage", "code"),
    _counter("audit_events_total", "audit events confirmed by Kafka", "action", "outcome"),
    _seconds("window_to_intent_seconds", "window produced to intent durable", buckets=JOURNEY_BUCKETS_S),
    _gauge("outbox_age_seconds", "age of the oldest unpublished record in the ledger's outbox"),
    _seconds("ledger_seconds", "duration of one call to the ledger", "call"),
    _counter("retries_total", "retries because a dependency was unavailable", "dependency"),
)

_REFERENCE = (
    _counter("reference_malformed_total", "reference records that could not be parsed; their key is blocked", "topic"),
    _gauge("reference_records", "known keys of a reference topic", "topic"),
    _gauge(
        "reference_closed_keys",
        "keys that are blocked until they are written again; cause in_doubt or unreadable",
        "topic",
        "cause",
    ),
    _gauge("reference_split_keys", "keys found in more than one partition", "topic"),
    _gauge("reference_current", "1 while every reference topic has been read to its end"),
)

_DELIVERY = (
    _counter("ledger_went_back_total", "starts with a ledger that had lost confirmed writes"),
    _gauge("ledger_operations", "operations in the ledger, updated every few seconds", "endpoint", "state"),
    _counter(
        "stale_outcomes_total",
        "outcomes after the lease had expired and another worker had the operation; kept as evidence only",
        "endpoint",
    ),
    _counter("verdicts_total", "attempts, by the state of the operation after them", "endpoint", "state"),
    _counter(
        "ehr_requests_total",
        "requests to an EHR; status is the HTTP status, or `none` without a response",
        "endpoint",
        "operation",
        "status",
    ),
    _seconds("ehr_request_seconds", "response time of an EHR", "endpoint", "operation"),
    _counter("corrections_total", "charted results listed for review, by what was corrected", "cause"),
    _counter("token_requests_total", "requests to a token endpoint", "endpoint", "outcome"),
    _seconds(
        "intent_to_charted_seconds", "intent durable to accepted by the EHR", "endpoint", buckets=JOURNEY_BUCKETS_S
    ),
    _seconds(
        "window_to_charted_seconds", "window produced to accepted by the EHR", "endpoint", buckets=JOURNEY_BUCKETS_S
    ),
)

_ROLE = (
    _gauge("worker_ready", "1 while the role is ready", "role"),
    _counter("configuration_reloads_total", "changed configurations; outcome accepted or refused", "outcome"),
)

CATALOGUE: dict[str, Metric] = {m.name: m for m in (*_TELEMETRY, *_CLINICAL, *_REFERENCE, *_DELIVERY, *_ROLE)}
