"""The one error tree. A docstring is the default message; every message tells a person what to do next.

    VitalwireError
    ├── Rejected        this input is refused, with a reason code; the input is kept
    ├── RetryLater      a dependency is away; the same work is tried again
    ├── Misconfigured   a person must change configuration, template or credentials
    │   └── RecordRefused   Kafka takes other records, but never this one
    └── Unsafe          going on could harm a patient's record; the process stops

No message may carry patient data: identifiers of topics, files, endpoints and lines only.
"""

from __future__ import annotations

from schemas.reasons import Reason


class VitalwireError(Exception):
    """Vitalwire could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class Rejected(VitalwireError):
    """The input was refused; it is kept in quarantine with its reason."""

    def __init__(self, reason: Reason, message: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class RetryLater(VitalwireError):
    """A dependency does not answer; the work is kept and tried again."""

    def __init__(self, message: str | None = None, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Misconfigured(VitalwireError):
    """The configuration is wrong; run `vitalwire check` to see file, line and remedy."""


class RecordRefused(Misconfigured):
    """Kafka refuses a record for good, mostly for its size; compare max.message.bytes with `vitalwire topics`."""


class Unsafe(VitalwireError):
    """Going on could put a wrong number into a chart; the worker stops and must be restarted."""
