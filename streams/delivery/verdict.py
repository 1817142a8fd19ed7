"""The verdict table: what a response to one attempt means, and what follows from it. Pure, total, in one place.

The table judges acknowledgements (HL7 table 0008), which every protocol has; what HTTP or one EHR says beyond that is data in
`http_rules` and `dialects/`.

A write is never repeated because its response was lost: whatever may have been written is `unknown`, and only a search
settles it (`judge_search`). Source: docs/ehr-behaviour.md §1, §2, §5; FHIR R4 http.html.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from schemas.capabilities import ResourceCapabilities
from schemas.ehr import Acknowledgement, EhrResponse, ResourceVersion, SearchMatches
from schemas.endpoint_kinds import EndpointKind
from schemas.operation import ABSENT, State
from streams.delivery.dialect import Dialect
from streams.delivery.dialects import ALREADY_THERE_CODES, DIALECTS
from streams.delivery.ehr_response import Issues, issues, json_object, retry_after_s, written_version
from streams.delivery.http_rules import BY_CLASS, BY_STATUS, CODED_REFUSALS, STALE_VERSION
from streams.delivery.messages import MESSAGES

Action = Literal["create", "update", "search"]

UNAUTHORIZED_ATTEMPTS = 10
"""After so many consecutive token refusals the operation is held for manual review."""

BY_ACKNOWLEDGEMENT: dict[Acknowledgement | None, tuple[State, str]] = {
    Acknowledgement.ERROR: (State.FAILED, "refused"),
    Acknowledgement.REJECT: (State.HELD, "rejected"),
    None: (State.UNKNOWN, "unclear_answer"),
}
"""What a response means that was not accepted, where its protocol and the EHR's dialect say nothing more."""

WHOLE_ENDPOINT = frozenset({"unreachable", "throttled", "unavailable", "unauthorized", "token_refused"})
SILENT = frozenset({"no_answer", "server_error"})
"""Where not even a search is answered, no other write would succeed."""


class Verdict(NamedTuple):
    """The next state, why, and how long to wait at least. `whole_endpoint`: no other write would succeed now."""

    state: State
    code: str | None
    message: str | None
    retry_after_s: float | None = None
    resource_id: str | None = None
    version: str | None = None
    whole_endpoint: bool = False


def verdict_of(state: State, code: str, message: str | None = None) -> Verdict:
    """A verdict of our own, with its code's message or another's."""
    return Verdict(state, code, MESSAGES[message or code])


class AttemptContext(NamedTuple):
    """What the table needs to know about one attempt of one action at one endpoint."""

    kind: EndpointKind
    capabilities: ResourceCapabilities
    action: Action
    previous: str | None = None
    """The code of the previous attempt."""
    refusals: int = 0
    """How many attempts in a row before this one were refused for their token."""


def judge_response(context: AttemptContext, resource_type: str, response: EhrResponse, now: datetime) -> Verdict:
    """What one response means. Total: any response gives a verdict."""
    state, reason, code = _row(context, resource_type, response, now)
    if context.action == "search":  # a search writes nothing: nothing about it is ambiguous or the result's fault
        state = {State.UNKNOWN: State.DEFERRED, State.FAILED: State.HELD}.get(state, state)
    wait_s = retry_after_s(response, now) if state is State.DEFERRED else None
    version = written_version(response, resource_type) if state is State.SUCCEEDED else ResourceVersion(None, None)
    return Verdict(
        state,
        code or reason,
        MESSAGES.get(reason or ""),
        wait_s,
        version.resource_id,
        version.version,
        reason in WHOLE_ENDPOINT or (context.action == "search" and reason in SILENT),
    )


Row = tuple[State, str | None, str | None]
"""(state, reason, vendor code)."""


def _row(context: AttemptContext, resource_type: str, response: EhrResponse, now: datetime) -> Row:
    """The first row of the table that applies."""
    acknowledgement = response.acknowledgement
    if response.status is None and acknowledgement is None:
        return (State.UNKNOWN, "no_answer", None) if response.sent else (State.DEFERRED, "unreachable", None)
    if not response.sent and response.status != 401:  # the token server is unavailable, which passes
        return State.DEFERRED, "unavailable", None
    if acknowledgement is Acknowledgement.ACCEPT:
        return _accepted(context, resource_type, response)
    if response.status is None:
        return *BY_ACKNOWLEDGEMENT[acknowledgement], None
    return _not_accepted_over_http(context, response.status, response, now)


def _accepted(context: AttemptContext, resource_type: str, response: EhrResponse) -> Row:
    """Over HTTP, an acceptance counts only if it identifies what was written: a proxy's login page is a 200 too."""
    if response.status is None:
        clear = True
    elif context.action == "search":
        clear = (json_object(response.body) or {}).get("resourceType") == "Bundle"
    else:
        empty = not response.body and response.error is None
        named = written_version(response, resource_type).resource_id is not None
        clear = named or (context.action == "update" and empty)
    return (State.SUCCEEDED, None, None) if clear else (State.UNKNOWN, "unclear_answer", None)


def _not_accepted_over_http(context: AttemptContext, status: int, response: EhrResponse, now: datetime) -> Row:
    if status == 401:
        return *_unauthorized(context, response), None
    if status == 503 and retry_after_s(response, now) is not None:
        return State.DEFERRED, "unavailable", None
    return _by_code(context, status, response) or (*_by_status(context, status, response.acknowledgement), None)


def _unauthorized(context: AttemptContext, response: EhrResponse) -> tuple[State, str]:
    reason = "unauthorized" if response.sent else "token_refused"
    return (State.DEFERRED if context.refusals + 1 < UNAUTHORIZED_ATTEMPTS else State.HELD), reason


def _by_code(context: AttemptContext, status: int, response: EhrResponse) -> Row | None:
    if not 300 <= status < 500 or status == 429:
        return None
    found = issues(response.body)
    for kind, dialect in DIALECTS.items():
        codes = frozenset(code for of, code in found.vendor if of == kind)
        row = _by_dialect(dialect, codes, context)
        if row is not None:
            return row
    return _by_issue_type(context, status, found) or _coded_refusal(context, status, response, found)


def _by_dialect(dialect: Dialect, codes: frozenset[str], context: AttemptContext) -> Row | None:
    for rule in dialect.code_rules:
        code = min(codes & rule.codes, default=None)
        if code is not None:
            return rule.state, rule.reason, code
    encounter = min(codes & dialect.encounter_refused, default=None)
    if encounter and context.capabilities.encounter == "required" and context.previous != encounter:
        return State.DEFERRED, "encounter_refused", encounter
    return None


def _by_issue_type(context: AttemptContext, status: int, found: Issues) -> Row | None:
    for rule in DIALECTS.get(context.kind, Dialect()).issue_rules:
        if status == rule.status and found.fhir & rule.types:
            return rule.state, rule.reason, min(found.fhir & rule.types)
    return None


def _coded_refusal(context: AttemptContext, status: int, response: EhrResponse, found: Issues) -> Row | None:
    code = min((one.code for one in found.vendor), default=None)
    if code is None or status not in CODED_REFUSALS:
        return None
    return *_by_status(context, status, response.acknowledgement), code


def _by_status(context: AttemptContext, status: int, acknowledgement: Acknowledgement | None) -> tuple[State, str]:
    if context.action == "update" and status in STALE_VERSION:
        return State.HELD, "version_conflict"
    if status == 409 and context.capabilities.conditional_create:
        return State.DEFERRED, "race"  # a racing If-None-Exist; repeating it conditionally cannot double it
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100) or BY_ACKNOWLEDGEMENT[acknowledgement]


def may_resend(context: AttemptContext) -> bool:
    """Whether a write that the chart does not contain may be sent again: only if the EHR itself refuses repeats."""
    capabilities = context.capabilities
    return context.action == "update" or capabilities.server_dedupes or capabilities.conditional_create


def judge_search(context: AttemptContext, cause: str | None, matches: SearchMatches) -> Verdict:
    """What a complete search of the chart means for a write whose response was ambiguous (`cause`: its code)."""
    # Without our identifier a search by time also finds what other devices measured at that instant.
    if len(matches.same) == 1 and not (matches.different and context.capabilities.identifier_search):
        return Verdict(State.SUCCEEDED, cause, MESSAGES["found"], None, *matches.same[0])
    if context.action == "update" and not matches.same:
        return Verdict(State.DEFERRED, "absent_resend", MESSAGES["absent_resend"])
    if cause in ALREADY_THERE_CODES and matches.different and not matches.same:
        return Verdict(State.QUARANTINED, cause, MESSAGES["found_different"])
    if matches.different or len(matches.same) > 1:
        reason = "found_different" if matches.different else "found_several"
        return Verdict(State.HELD, reason, MESSAGES[reason])
    if may_resend(context) and cause not in ALREADY_THERE_CODES:
        return Verdict(State.DEFERRED, "absent_resend", MESSAGES["absent_resend"])
    return Verdict(State.HELD, ABSENT, MESSAGES[ABSENT])
