"""The verdict table row by row, as the EHRs' behaviour asks for."""

from typing import Any

import orjson
import pytest

from schemas.ehr import EhrResponse, ResourceVersion, SearchMatches
from schemas.operation import State
from streams.delivery.verdict import judge_response, judge_search
from tests.doubles.ehr_responses import NOW, attempt_context, outcome, response_with

ROWS = [
    # kind, action, response, state, code
    ("fhir", "create", response_with(201, location="Observation/1"), State.SUCCEEDED, None),
    (
        "oracle-health",
        "create",
        response_with(201, location="https://h/r4/t/Observation/M-1", etag='W/"1"'),
        State.SUCCEEDED,
        None,
    ),
    ("fhir", "create", response_with(200, location="http://h/fhir/Observation/1/_history/1"), State.SUCCEEDED, None),
    ("fhir", "create", response_with(200, b'{"resourceType":"Observation","id":"7"}'), State.SUCCEEDED, None),
    ("fhir", "create", response_with(200, b"<html>sign in</html>"), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", response_with(201), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", response_with(202), State.UNKNOWN, "accepted"),
    ("fhir", "create", response_with(204), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", response_with(301, location="https://elsewhere/Observation"), State.HELD, "redirected"),
    ("fhir", "create", response_with(303, location="https://elsewhere/Observation"), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", response_with(None), State.UNKNOWN, "no_answer"),
    ("fhir", "create", response_with(None, sent=False), State.DEFERRED, "unreachable"),
    ("fhir", "create", response_with(400, outcome()), State.FAILED, "refused"),
    ("fhir", "create", response_with(401), State.DEFERRED, "unauthorized"),
    ("fhir", "create", response_with(401, sent=False), State.DEFERRED, "token_refused"),
    ("fhir", "create", response_with(403), State.HELD, "forbidden"),
    ("fhir", "create", response_with(404), State.HELD, "misdirected"),
    ("fhir", "create", response_with(408), State.UNKNOWN, "no_answer"),
    ("fhir", "create", response_with(409), State.UNKNOWN, "conflict"),
    ("fhir", "create", response_with(412), State.HELD, "several_match"),
    ("fhir", "create", response_with(413), State.FAILED, "refused"),
    ("fhir", "create", response_with(422, outcome(fhir="business-rule")), State.FAILED, "refused"),
    ("fhir", "create", response_with(429), State.DEFERRED, "throttled"),
    ("fhir", "create", response_with(500), State.UNKNOWN, "server_error"),
    ("fhir", "create", response_with(501), State.HELD, "misdirected"),
    ("fhir", "create", response_with(502), State.UNKNOWN, "server_error"),
    ("fhir", "create", response_with(503), State.UNKNOWN, "server_error"),
    ("fhir", "create", response_with(503, retry_after="5"), State.DEFERRED, "unavailable"),
    ("fhir", "create", response_with(504), State.UNKNOWN, "server_error"),
    ("epic", "create", response_with(201, location="Observation/eV1"), State.SUCCEEDED, None),
    ("epic", "create", response_with(400, outcome("59189")), State.UNKNOWN, "59189"),
    ("epic", "create", response_with(400, outcome("59141")), State.UNKNOWN, "59141"),
    ("epic", "create", response_with(400, outcome("59108")), State.HELD, "59108"),
    ("epic", "create", response_with(400, outcome("59187")), State.HELD, "59187"),
    ("epic", "create", response_with(400, outcome("59188")), State.HELD, "59188"),
    ("epic", "create", response_with(403, outcome("4118")), State.HELD, "4118"),
    ("epic", "create", response_with(403), State.HELD, "forbidden"),
    ("epic", "create", response_with(400, outcome("59109")), State.FAILED, "59109"),
    ("epic", "create", response_with(400, outcome("59159")), State.DEFERRED, "59159"),
    ("epic", "create", response_with(400, outcome("59177")), State.UNKNOWN, "59177"),
    ("epic", "create", response_with(302, outcome("4107"), location="Patient/2"), State.HELD, "4107"),
    ("epic", "create", response_with(500, outcome("59189")), State.UNKNOWN, "server_error"),
    ("oracle-health", "create", response_with(422, outcome(fhir="business-rule")), State.HELD, "business-rule"),
    ("oracle-health", "create", response_with(422, outcome(fhir="invalid")), State.FAILED, "refused"),
    ("oracle-health", "update", response_with(200), State.SUCCEEDED, None),
    ("oracle-health", "update", response_with(200, b"<html>"), State.UNKNOWN, "unclear_answer"),
    ("oracle-health", "update", response_with(409), State.HELD, "version_conflict"),
    ("fhir", "update", response_with(412), State.HELD, "version_conflict"),
    ("fhir", "update", response_with(500), State.UNKNOWN, "server_error"),
    ("fhir", "search", response_with(500), State.DEFERRED, "server_error"),
    ("fhir", "search", response_with(403), State.HELD, "forbidden"),
    ("epic", "search", response_with(400, outcome("4111")), State.HELD, "4111"),
]


@pytest.mark.parametrize(("kind", "action", "response", "state", "code"), ROWS)
def test_each_row_of_the_table_has_the_verdict_that_the_ehrs_behaviour_asks_for(
    kind: str, action: str, response: EhrResponse, state: State, code: str | None
) -> None:
    verdict = judge_response(attempt_context(kind, action), "Observation", response, NOW)
    assert (verdict.state, verdict.code) == (state, code)


def test_a_racing_conditional_create_is_tried_again() -> None:
    verdict = judge_response(attempt_context("fhir", conditional_create=True), "Observation", response_with(409), NOW)
    assert (verdict.state, verdict.code) == (State.DEFERRED, "race")


def test_a_token_refused_ten_times_holds_the_operation_for_manual_review() -> None:
    assert judge_response(attempt_context(refusals=8), "Observation", response_with(401), NOW).state is State.DEFERRED
    assert judge_response(attempt_context(refusals=9), "Observation", response_with(401), NOW).state is State.HELD


def test_an_encounter_refused_twice_for_the_same_reason_fails_the_result() -> None:
    refused = response_with(400, outcome("59159"))
    assert judge_response(attempt_context("epic", previous="59159"), "Observation", refused, NOW).state is State.FAILED


def test_epic_codes_of_another_system_mean_nothing() -> None:
    body = orjson.dumps(
        {"resourceType": "OperationOutcome", "issue": [{"details": {"coding": [{"system": "urn:x", "code": "59189"}]}}]}
    )
    assert judge_response(attempt_context("epic"), "Observation", response_with(400, body), NOW).state is State.FAILED


def test_a_failure_of_the_endpoint_is_distinguished_from_a_failure_of_the_result() -> None:
    whole = [
        judge_response(attempt_context(), "Observation", a, NOW).whole_endpoint
        for a in (response_with(429), response_with(None, sent=False), response_with(401))
    ]
    single = [
        judge_response(attempt_context(), "Observation", a, NOW).whole_endpoint
        for a in (response_with(400), response_with(403), response_with(500))
    ]
    assert (whole, single) == ([True] * 3, [False] * 3)


ONE, TWO = ResourceVersion("1", "1"), ResourceVersion("2", "1")
SEARCHES = [
    # kind, differs, action, cause, found, state, code
    ("fhir", {}, "create", "no_answer", SearchMatches((ONE,), 0), State.SUCCEEDED, "no_answer"),
    ("fhir", {}, "create", "no_answer", SearchMatches((), 0), State.HELD, "absent"),
    (
        "fhir",
        {"conditional_create": True},
        "create",
        "no_answer",
        SearchMatches((), 0),
        State.DEFERRED,
        "absent_resend",
    ),
    ("epic", {}, "create", "no_answer", SearchMatches((), 0), State.DEFERRED, "absent_resend"),
    ("oracle-health", {}, "create", "no_answer", SearchMatches((), 0), State.HELD, "absent"),
    ("oracle-health", {}, "create", "no_answer", SearchMatches((ONE, TWO), 0), State.HELD, "found_several"),
    ("oracle-health", {}, "create", "no_answer", SearchMatches((ONE,), 1), State.SUCCEEDED, "no_answer"),
    ("fhir", {}, "create", "no_answer", SearchMatches((ONE,), 1), State.HELD, "found_different"),
    ("oracle-health", {}, "create", "no_answer", SearchMatches((), 1), State.HELD, "found_different"),
    ("epic", {}, "create", "59189", SearchMatches((ONE,), 0), State.SUCCEEDED, "59189"),
    ("epic", {}, "create", "59189", SearchMatches((), 1), State.QUARANTINED, "59189"),
    ("epic", {}, "create", "59141", SearchMatches((), 1), State.QUARANTINED, "59141"),
    ("epic", {}, "create", "59189", SearchMatches((), 0), State.HELD, "absent"),
    ("oracle-health", {}, "update", "no_answer", SearchMatches((), 1), State.DEFERRED, "absent_resend"),
    ("oracle-health", {}, "update", "no_answer", SearchMatches((ONE,), 0), State.SUCCEEDED, "no_answer"),
]


@pytest.mark.parametrize(("kind", "differs", "action", "cause", "found", "state", "code"), SEARCHES)
def test_each_result_of_a_search_settles_doubt_as_the_ehr_allows(
    kind: str, differs: dict[str, Any], action: str, cause: str, found: SearchMatches, state: State, code: str
) -> None:
    verdict = judge_search(attempt_context(kind, action, **differs), cause, found)
    assert (verdict.state, verdict.code) == (state, code)
