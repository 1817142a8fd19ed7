"""The error tree. A docstring is the default message; every message says what to do next.

    VitalwireError
    ├── Rejected        this input is rejected with a reason code, and quarantined
    ├── RetryLater      a dependency is unavailable; the same work is retried
    ├── Misconfigured   configuration, template or credentials must be corrected
    │   └── RecordRefused   Kafka accepts other records, but never this one
    └── Unsafe          continuing could corrupt a patient's record; the process stops

No message may contain patient data: identifiers of topics, files, endpoints and lines only.
"""

from __future__ import annotations

from schemas.reasons import Reason


class VitalwireError(Exception):
    """Vitalwire could not complete the operation."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class Rejected(VitalwireError):
    """The input is rejected, and quarantined with its reason."""

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class RetryLater(VitalwireError):
    """A dependency does not respond; the work is kept and retried."""

    def __init__(self, message: str | None = None, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Misconfigured(VitalwireError):
    """The configuration is invalid; run `vitalwire check` to see file, line and remedy."""


class RecordRefused(Misconfigured):
    """Kafka refuses a record permanently, usually because of its size; compare max.message.bytes with `vitalwire topics`."""


class Unsafe(VitalwireError):
    """Continuing could put a wrong value into a chart; the worker stops and must be restarted."""
