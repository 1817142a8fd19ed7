"""The verdict table: what an EHR's answer to one attempt means, and what follows from it. Pure, total, in one place.

A write is never repeated because its answer was lost: whatever may have been written is `unknown`, and only a search
settles it (`judge_search`). Source: docs/ehr-behaviour.md §1, §2, §5; FHIR R4 http.html.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from schemas.capabilities import ResourceCapabilities
from schemas.ehr import EhrResponse, ResourceVersion, SearchMatches
from schemas.endpoint_kinds import EndpointKind
from schemas.operation import ABSENT, State
from streams.delivery.ehr_response import Issues, issues, json_object, retry_after_s, written

Action = Literal["create", "update", "search"]

UNAUTHORIZED_ATTEMPTS = 10
"""So many refused tokens in a row are a matter for a person."""

ALREADY_THERE = frozenset({"59189", "59141"})
ENCOUNTER_REFUSED = frozenset({"59111", "59144", "59159"})
"""An encounter may have closed since it was looked up: it is looked up once more."""
HELD_CODES = frozenset({"4107", "4118", "4130", "4131", "4134", "4135", "59013", "59105", "59108", "59187", "59188"})
ORACLE_SETTINGS = frozenset({"business-rule", "not-supported", "required"})

MESSAGES: dict[str, str] = {
    "unreachable": "The EHR could not be reached; nothing was sent. It is tried again.",
    "no_answer": "The EHR did not answer; it may have written the result. The chart is searched before anything else.",
    "unclear_answer": "The EHR's answer does not say what was written. The chart is searched.",
    "accepted": "The EHR accepted the result for later; the chart is read back until it is there.",
    "server_error": "The EHR failed while answering; it may have written the result. The chart is searched.",
    "throttled": "The EHR asked to slow down. The endpoint waits as long as it asked.",
    "unavailable": "The EHR or its token server is unavailable for now; nothing was written. It is tried again.",
    "unauthorized": "The EHR refused the access token, also a fresh one. Check the client's registration and key.",
    "token_refused": "The token endpoint refused the client. Check client id, key or secret, and scope.",
    "forbidden": "The EHR forbids this write. Check the app's APIs, scopes and background user, then release it.",
    "misdirected": "The EHR does not offer this operation at this address. Check `base_url`, then release it.",
    "redirected": "The EHR answered with a redirect, which is never followed. Check `base_url`, then release it.",
    "refused": "The EHR refused the result as invalid. Check the template against the EHR's rules.",
    "settings": "The EHR's own rules or settings refuse the result. Correct the configuration, then release it.",
    "encounter_refused": "The EHR refused the encounter; the active encounter is looked up again.",
    "race": "Another request wrote the same identifier at the same moment. It is tried again, conditionally.",
    "conflict": "The EHR reports a conflict; the chart is searched for the result.",
    "version_conflict": "The Observation was changed in the EHR since we wrote it. A person must decide.",
    "several_match": "Several Observations in the EHR carry this identifier. A person must decide.",
    "already_there": "The EHR says it already holds this result; it is read back and compared.",
    "found": "Found in the chart with the same value.",
    "found_different": "The chart holds another value for this time. It was not overwritten; a person must decide.",
    "found_several": "The chart holds this result more than once. A person must decide.",
    "absent": "The chart does not hold the result, and this EHR cannot refuse a repeat. A person must decide.",
    "absent_resend": "The chart does not hold the result; it is sent again, and the EHR refuses a repeat.",
    "no_encounter": "The patient has no active encounter, which this EHR requires. It is looked for again.",
    "no_encounter_held": "The patient had no active encounter for long. Release it when there is one, or dismiss it.",
    "amend_unsupported": "A later reading changed this result, and this EHR takes no amendments. Correct it by hand.",
    "amends_unsettled": "It amends a result that a person has not decided about yet. Decide that one first.",
    "amends_forgotten": "It amends a result that the ledger holds no more. Compare the chart, and correct it by hand.",
    "no_consent": "The patient's consent does not permit charting this here now, or did not when it was measured.",
    "consent_in_doubt": "The patient's consent record cannot be read, or two disagree. It is tried again; correct the record.",
    "consent_unavailable": "Consents cannot be read at present; nothing is charted without.",
    "pairing_changed": "Today's pairing does not give the device to this patient for the whole time. Compare the chart.",
    "subject_changed": "The patient's id at the EHR was corrected after this may have been written under the old one.",
    "unknown_patient": "The patient has no id at this endpoint any more. Correct `reference.patients`, then release it.",
    "readdressed": "The patient's id at the EHR was corrected while it was on its way; nothing was sent.",
    "stale_claim": "Another worker has taken it over; nothing was sent.",
    "endpoint_paused": "The endpoint is paused after trouble; nothing was sent.",
    "stopping": "The worker stopped before it was sent.",
    "lease_short": "It waited too long in the worker; nothing was sent.",
    "internal_error": "Vitalwire could not handle this operation. Look it up in the ledger and report it.",
    "merged_patient": "The patient was merged into another at the EHR. Correct `reference.patients`, then release it.",
}


class Verdict(NamedTuple):
    """The next state, why, and how long to wait at least. `whole_endpoint`: no other write would fare better now."""

    state: State
    code: str | None
    message: str | None
    retry_after_s: float | None = None
    resource_id: str | None = None
    version: str | None = None
    whole_endpoint: bool = False


def verdict_of(state: State, code: str, message: str | None = None) -> Verdict:
    """A verdict of our own, with its code's sentence or another's."""
    return Verdict(state, code, MESSAGES[message or code])


class AttemptContext(NamedTuple):
    """What was asked of whom, for the table: one attempt of one action at one endpoint."""

    kind: EndpointKind
    capabilities: ResourceCapabilities
    action: Action
    previous: str | None = None
    """The code of the attempt before."""
    refusals: int = 0
    """How many attempts in a row before this one were refused for their token."""


# Status → (state, reason), where neither the action nor an error code in the body says otherwise.
BY_STATUS: dict[int, tuple[State, str]] = {
    202: (State.UNKNOWN, "accepted"),
    303: (State.UNKNOWN, "unclear_answer"),
    400: (State.FAILED, "refused"),
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
    422: (State.FAILED, "refused"),
    425: (State.DEFERRED, "unavailable"),
    429: (State.DEFERRED, "throttled"),
    501: (State.HELD, "misdirected"),
}
BY_CLASS: dict[int, tuple[State, str]] = {
    2: (State.UNKNOWN, "unclear_answer"),
    3: (State.HELD, "redirected"),
    4: (State.FAILED, "refused"),
    5: (State.UNKNOWN, "server_error"),
}
WHOLE_ENDPOINT = frozenset({"unreachable", "throttled", "unavailable", "unauthorized", "token_refused"})
SILENT = frozenset({"no_answer", "server_error"})
"""Where not even a search is answered, no other write would fare better."""


def judge(asked: AttemptContext, resource_type: str, answer: EhrResponse, now: datetime) -> Verdict:
    """What one answer means. Total: any answer gives a verdict."""
    state, reason, code = _row(asked, resource_type, answer, issues(answer.body), now)
    if asked.action == "search":  # a search writes nothing, so that nothing about it is ambiguous or the result's fault
        state = {State.UNKNOWN: State.DEFERRED, State.FAILED: State.HELD}.get(state, state)
    wait_s = retry_after_s(answer, now) if state is State.DEFERRED else None
    made = written(answer, resource_type) if state is State.SUCCEEDED else ResourceVersion(None, None)
    return Verdict(
        state,
        code or reason,
        MESSAGES.get(reason or ""),
        wait_s,
        made.resource_id,
        made.version,
        reason in WHOLE_ENDPOINT or (asked.action == "search" and reason in SILENT),
    )


Row = tuple[State, str | None, str | None]
"""(state, reason, vendor code)."""


def _row(asked: AttemptContext, resource_type: str, answer: EhrResponse, said: Issues, now: datetime) -> Row:
    """The first row of the table that applies."""
    status = answer.status
    if status is None:
        return (State.UNKNOWN, "no_answer", None) if answer.sent else (State.DEFERRED, "unreachable", None)
    if not answer.sent and status != 401:  # the token server is away, which a person need not mend
        return State.DEFERRED, "unavailable", None
    if status in (200, 201):
        return _accepted(asked, resource_type, answer)
    if status == 401:
        return *_unauthorized(asked, answer), None
    if status == 503 and retry_after_s(answer, now) is not None:
        return State.DEFERRED, "unavailable", None
    return _by_code(asked, status, said) or (*_by_status(asked, status), None)


def _accepted(asked: AttemptContext, resource_type: str, answer: EhrResponse) -> Row:
    """A 200 or 201 counts only if it says what was written: a proxy's login page is a 200 too."""
    if asked.action == "search":
        clear = (json_object(answer.body) or {}).get("resourceType") == "Bundle"
    else:
        said_nothing = not answer.body and answer.error is None
        clear = written(answer, resource_type).resource_id is not None or (asked.action == "update" and said_nothing)
    return (State.SUCCEEDED, None, None) if clear else (State.UNKNOWN, "unclear_answer", None)


def _unauthorized(asked: AttemptContext, answer: EhrResponse) -> tuple[State, str]:
    reason = "unauthorized" if answer.sent else "token_refused"
    return (State.DEFERRED if asked.refusals + 1 < UNAUTHORIZED_ATTEMPTS else State.HELD), reason


def _by_code(asked: AttemptContext, status: int, said: Issues) -> Row | None:
    if not 300 <= status < 500 or status == 429:
        return None
    for codes, state, reason in (
        (ALREADY_THERE, State.UNKNOWN, "already_there"),
        (frozenset({"4107"}), State.HELD, "merged_patient"),
        (HELD_CODES, State.HELD, "settings"),
        (frozenset({"59177"}), State.UNKNOWN, "server_error"),
    ):
        hit = min(said.vendor & codes, default=None)
        if hit is not None:
            return state, reason, hit
    encounter = min(said.vendor & ENCOUNTER_REFUSED, default=None)
    if encounter and asked.capabilities.encounter == "required" and asked.previous != encounter:
        return State.DEFERRED, "encounter_refused", encounter
    if asked.kind == "oracle-health" and status == 422 and said.fhir & ORACLE_SETTINGS:
        return State.HELD, "settings", min(said.fhir & ORACLE_SETTINGS)
    other = min(said.vendor, default=None)
    return (*BY_STATUS.get(status, BY_CLASS[status // 100]), other) if other and status in (400, 422) else None


def _by_status(asked: AttemptContext, status: int) -> tuple[State, str]:
    if asked.action == "update" and status in (409, 412):
        return State.HELD, "version_conflict"
    if status == 409 and asked.capabilities.conditional_create:
        return State.DEFERRED, "race"  # a racing If-None-Exist; repeating it conditionally cannot double it
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100, (State.UNKNOWN, "unclear_answer"))


def may_resend(asked: AttemptContext) -> bool:
    """Whether a write that the chart does not hold may be sent again: only where the EHR itself refuses a repeat."""
    return asked.action == "update" or asked.capabilities.server_dedupes or asked.capabilities.conditional_create


def judge_search(asked: AttemptContext, cause: str | None, found: SearchMatches) -> Verdict:
    """What a complete search of the chart means for a write whose answer was ambiguous (`cause`: its code)."""
    # Without our identifier a search by time also brings what other devices measured at that instant.
    if len(found.same) == 1 and not (found.different and asked.capabilities.identifier_search):
        return Verdict(State.SUCCEEDED, cause, MESSAGES["found"], None, *found.same[0])
    if asked.action == "update" and not found.same:
        return Verdict(State.DEFERRED, "absent_resend", MESSAGES["absent_resend"])
    if cause in ALREADY_THERE and found.different and not found.same:
        return Verdict(State.QUARANTINED, cause, MESSAGES["found_different"])
    if found.different or len(found.same) > 1:
        reason = "found_different" if found.different else "found_several"
        return Verdict(State.HELD, reason, MESSAGES[reason])
    if may_resend(asked) and cause not in ALREADY_THERE:
        return Verdict(State.DEFERRED, "absent_resend", MESSAGES["absent_resend"])
    return Verdict(State.HELD, ABSENT, MESSAGES[ABSENT])
