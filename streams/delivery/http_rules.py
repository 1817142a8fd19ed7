"""HTTP's own rules, as data: what a status means beyond the acknowledgement it maps to. Pure.

Sources: FHIR R4 http.html; RFC 9110; docs/ehr-behaviour.md §4.
"""

from __future__ import annotations

from schemas.operation import State

BY_STATUS: dict[int, tuple[State, str]] = {
    202: (State.UNKNOWN, "accepted"),
    303: (State.UNKNOWN, "unclear_answer"),
    403: (State.HELD, "forbidden"),
    404: (State.HELD, "misdirected"),
    405: (State.HELD, "misdirected"),
    406: (State.HELD, "misdirected"),
    407: (State.HELD, "misdirected"),
    408: (State.UNKNOWN, "no_answer"),
    409: (State.UNKNOWN, "conflict"),
    410: (State.HELD, "misdirected"),
    412: (State.HELD, "several_match"),
    415: (State.HELD, "misdirected"),
    421: (State.HELD, "misdirected"),
    425: (State.DEFERRED, "unavailable"),
    429: (State.DEFERRED, "throttled"),
    501: (State.HELD, "misdirected"),
}
"""Status → (state, reason), where neither the action nor an error code in the body says otherwise."""

BY_CLASS: dict[int, tuple[State, str]] = {
    3: (State.HELD, "redirected"),
    5: (State.UNKNOWN, "server_error"),
}
"""Likewise for the other statuses of a class."""

STALE_VERSION = frozenset({409, 412})
"""Of an update: the resource is no longer the version that was to be replaced."""

CODED_REFUSALS = frozenset({400, 422})
"""An error code without a rule is reported with the refusal."""
