"""The verdict table: total over anything an EHR may answer, and row by row what the EHRs' behaviour asks for."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.observation.match import compare
from schemas.ehr import EhrResponse, ResourceVersion, SearchMatches
from schemas.endpoint_kinds import DEFAULTS
from schemas.operation import State
from streams.delivery.ehr_response import EPIC_CODES, LONGEST_WAIT_S, issues, retry_after_s, written
from streams.delivery.verdict import MESSAGES, AttemptContext, judge, judge_search
from streams.runtime.backoff import LONGEST_S, backoff_s

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MEANT = {
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2026-01-05T10:01:00Z",
}
KINDS = ["fhir", "epic", "oracle-health"]
ACTIONS = ["create", "update", "search"]


def ask(
    kind: str = "fhir", action: str = "create", previous: str | None = None, refusals: int = 0, **differs: Any
) -> AttemptContext:
    capabilities = DEFAULTS[kind].observation.model_copy(update=differs)
    return AttemptContext(kind, capabilities, action, previous, refusals)


def outcome(*codes: str, fhir: str = "processing") -> bytes:
    coded = [{"code": fhir, "details": {"coding": [{"system": f"{EPIC_CODES}.1", "code": code}]}} for code in codes]
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": coded or [{"code": fhir}]})


def answer(status: int | None, body: bytes = b"", sent: bool = True, **headers: str) -> EhrResponse:
    return EhrResponse(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, sent)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceType", "issue", "details", "coding", "system", "code", "id", "meta", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | st.lists(st.sampled_from(["59189", "59141", "4107", "59108", "59111", "59177", "9"]), max_size=3).map(
        lambda codes: outcome(*codes)
    )
)
headers = st.dictionaries(
    st.sampled_from(["location", "Location", "etag", "ETag", "retry-after", "Retry-After", "content-type"]),
    st.text(max_size=40)
    | st.sampled_from(
        ["Observation/1", "https://ehr/r4/Observation/a-b/_history/2", 'W/"3"', "120", "-5", "1e99", "9" * 400]
    )
    | st.sampled_from(["Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 1999 07:28:00 GMT", "Wed, 99 Xxx 2099"]),
    max_size=4,
)
answers = st.builds(
    EhrResponse, st.none() | st.integers(-5, 1200), headers, bodies, st.booleans(), st.none() | st.text()
)
asked = st.builds(
    lambda kind, action, refusals, previous, conditional: ask(
        kind, action, previous, refusals, conditional_create=conditional
    ),
    st.sampled_from(KINDS),
    st.sampled_from(ACTIONS),
    st.integers(0, 50),
    st.none() | st.sampled_from(["59111", "no_answer", "59189"]),
    st.booleans(),
)


@given(asked, answers)
def test_any_answer_gives_a_verdict_and_never_an_exception(question: AttemptContext, given_answer: EhrResponse) -> None:
    verdict = judge(question, "Observation", given_answer, NOW)
    assert verdict.state in State
    assert verdict.state is State.SUCCEEDED or (verdict.code and verdict.message)
    assert verdict.retry_after_s is None or 0 <= verdict.retry_after_s <= LONGEST_WAIT_S


@given(asked, answers)
def test_no_words_of_the_ehr_reach_a_person_unread(question: AttemptContext, given_answer: EhrResponse) -> None:
    verdict = judge(question, "Observation", given_answer, NOW)
    assert verdict.message is None or verdict.message in MESSAGES.values()
    assert verdict.code is None or verdict.code.replace("_", "").replace("-", "").isalnum()


@given(asked, answers)
def test_what_may_have_been_written_is_never_sent_again_unlooked_for(
    question: AttemptContext, given_answer: EhrResponse
) -> None:
    silent = given_answer._replace(status=None, sent=True)
    verdict = judge(question, "Observation", silent, NOW)
    assert verdict.state is (State.DEFERRED if question.action == "search" else State.UNKNOWN)


@given(asked, answers)
def test_only_an_answer_that_names_what_was_written_counts_as_written(
    question: AttemptContext, given_answer: EhrResponse
) -> None:
    verdict = judge(question, "Observation", given_answer, NOW)
    if question.action == "create" and verdict.state is State.SUCCEEDED:
        assert given_answer.status in (200, 201)
        assert verdict.resource_id


def storable(text: str | None) -> bool:
    """Whether PostgreSQL takes it in a text column and HTTP in a header."""
    return text is None or (text.isascii() and text.isprintable() and len(text) <= 128)


ODD_NAMES = ["a\0b", "\0", "a\n", "ä", "a b", "", "x" * 129, 'W/"1"', "1", "a/b", "\u202e1", '"']
odd_headers = st.dictionaries(
    st.sampled_from(["location", "etag"]),
    st.sampled_from([*ODD_NAMES, *(f"Observation/{n}" for n in ODD_NAMES), *(f'W/"{n}"' for n in ODD_NAMES)])
    | st.sampled_from([f"Observation/1/_history/{n}" for n in ODD_NAMES]),
)
odd_bodies = st.fixed_dictionaries(
    {},
    optional={
        "resourceType": st.sampled_from(["Observation", "OperationOutcome", 1]),
        "id": st.sampled_from(ODD_NAMES) | st.text() | st.integers(),
        "meta": st.fixed_dictionaries({"versionId": st.sampled_from(ODD_NAMES) | st.text() | st.integers()})
        | st.text(),
        "issue": st.lists(
            st.fixed_dictionaries(
                {
                    "code": st.sampled_from(["required", "required\n", "a\0"]) | st.text(),
                    "details": st.fixed_dictionaries(
                        {
                            "coding": st.lists(
                                st.fixed_dictionaries(
                                    {
                                        "system": st.just(EPIC_CODES),
                                        "code": st.sampled_from(["59189\n", "59189\0", "٥٩", "59189"]),
                                    }
                                )
                            )
                        }
                    ),
                }
            )
        ),
    },
)
odd_answers = st.builds(
    EhrResponse,
    st.sampled_from([None, 200, 201, 400, 422, 302, 500]),
    odd_headers,
    odd_bodies.map(lambda body: json.dumps(body).encode()),
    st.booleans(),
)


@given(asked, odd_answers | answers)
def test_whatever_an_ehr_answers_can_be_written_to_the_ledger(
    question: AttemptContext, given_answer: EhrResponse
) -> None:
    verdict = judge(question, "Observation", given_answer, NOW)
    assert storable(verdict.code)
    assert storable(verdict.resource_id)
    assert storable(verdict.version)


@given(asked, odd_bodies)
def test_whatever_stands_in_the_chart_can_be_written_to_the_ledger(
    question: AttemptContext, body: dict[str, Any]
) -> None:
    verdict = judge_search(question, "no_answer", compare(body | MEANT, [body | MEANT]))
    assert storable(verdict.resource_id)
    assert storable(verdict.version)


@given(asked, answers, st.sampled_from([400, 403, 404, 409, 412, 422]))
def test_a_search_is_never_the_fault_of_the_result(
    question: AttemptContext, given_answer: EhrResponse, status: int
) -> None:
    search = question._replace(action="search")
    verdict = judge(search, "Observation", given_answer._replace(status=status), NOW)
    assert verdict.state not in (State.FAILED, State.UNKNOWN, State.SUCCEEDED)


ROWS = [
    # kind, action, answer, state, code
    ("fhir", "create", answer(201, location="Observation/1"), State.SUCCEEDED, None),
    (
        "oracle-health",
        "create",
        answer(201, location="https://h/r4/t/Observation/M-1", etag='W/"1"'),
        State.SUCCEEDED,
        None,
    ),
    ("fhir", "create", answer(200, location="http://h/fhir/Observation/1/_history/1"), State.SUCCEEDED, None),
    ("fhir", "create", answer(200, b'{"resourceType":"Observation","id":"7"}'), State.SUCCEEDED, None),
    ("fhir", "create", answer(200, b"<html>sign in</html>"), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", answer(201), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", answer(202), State.UNKNOWN, "accepted"),
    ("fhir", "create", answer(204), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", answer(301, location="https://elsewhere/Observation"), State.HELD, "redirected"),
    ("fhir", "create", answer(303, location="https://elsewhere/Observation"), State.UNKNOWN, "unclear_answer"),
    ("fhir", "create", answer(None), State.UNKNOWN, "no_answer"),
    ("fhir", "create", answer(None, sent=False), State.DEFERRED, "unreachable"),
    ("fhir", "create", answer(400, outcome()), State.FAILED, "refused"),
    ("fhir", "create", answer(401), State.DEFERRED, "unauthorized"),
    ("fhir", "create", answer(401, sent=False), State.DEFERRED, "token_refused"),
    ("fhir", "create", answer(403), State.HELD, "forbidden"),
    ("fhir", "create", answer(404), State.HELD, "misdirected"),
    ("fhir", "create", answer(408), State.UNKNOWN, "no_answer"),
    ("fhir", "create", answer(409), State.UNKNOWN, "conflict"),
    ("fhir", "create", answer(412), State.HELD, "several_match"),
    ("fhir", "create", answer(413), State.FAILED, "refused"),
    ("fhir", "create", answer(422, outcome(fhir="business-rule")), State.FAILED, "refused"),
    ("fhir", "create", answer(429), State.DEFERRED, "throttled"),
    ("fhir", "create", answer(500), State.UNKNOWN, "server_error"),
    ("fhir", "create", answer(501), State.HELD, "misdirected"),
    ("fhir", "create", answer(502), State.UNKNOWN, "server_error"),
    ("fhir", "create", answer(503), State.UNKNOWN, "server_error"),
    ("fhir", "create", answer(503, retry_after="5"), State.DEFERRED, "unavailable"),
    ("fhir", "create", answer(504), State.UNKNOWN, "server_error"),
    ("epic", "create", answer(201, location="Observation/eV1"), State.SUCCEEDED, None),
    ("epic", "create", answer(400, outcome("59189")), State.UNKNOWN, "59189"),
    ("epic", "create", answer(400, outcome("59141")), State.UNKNOWN, "59141"),
    ("epic", "create", answer(400, outcome("59108")), State.HELD, "59108"),
    ("epic", "create", answer(400, outcome("59187")), State.HELD, "59187"),
    ("epic", "create", answer(400, outcome("59188")), State.HELD, "59188"),
    ("epic", "create", answer(403, outcome("4118")), State.HELD, "4118"),
    ("epic", "create", answer(403), State.HELD, "forbidden"),
    ("epic", "create", answer(400, outcome("59109")), State.FAILED, "59109"),
    ("epic", "create", answer(400, outcome("59159")), State.DEFERRED, "59159"),
    ("epic", "create", answer(400, outcome("59177")), State.UNKNOWN, "59177"),
    ("epic", "create", answer(302, outcome("4107"), location="Patient/2"), State.HELD, "4107"),
    ("epic", "create", answer(500, outcome("59189")), State.UNKNOWN, "server_error"),
    ("oracle-health", "create", answer(422, outcome(fhir="business-rule")), State.HELD, "business-rule"),
    ("oracle-health", "create", answer(422, outcome(fhir="invalid")), State.FAILED, "refused"),
    ("oracle-health", "update", answer(200), State.SUCCEEDED, None),
    ("oracle-health", "update", answer(200, b"<html>"), State.UNKNOWN, "unclear_answer"),
    ("oracle-health", "update", answer(409), State.HELD, "version_conflict"),
    ("fhir", "update", answer(412), State.HELD, "version_conflict"),
    ("fhir", "update", answer(500), State.UNKNOWN, "server_error"),
    ("fhir", "search", answer(500), State.DEFERRED, "server_error"),
    ("fhir", "search", answer(403), State.HELD, "forbidden"),
    ("epic", "search", answer(400, outcome("4111")), State.HELD, "4111"),
]


@pytest.mark.parametrize(("kind", "action", "given_answer", "state", "code"), ROWS)
def test_each_row_of_the_table_is_judged_as_the_ehrs_behave(
    kind: str, action: str, given_answer: EhrResponse, state: State, code: str | None
) -> None:
    verdict = judge(ask(kind, action), "Observation", given_answer, NOW)
    assert (verdict.state, verdict.code) == (state, code)


def test_a_racing_conditional_create_is_tried_again() -> None:
    verdict = judge(ask("fhir", conditional_create=True), "Observation", answer(409), NOW)
    assert (verdict.state, verdict.code) == (State.DEFERRED, "race")


def test_a_token_refused_ten_times_is_a_matter_for_a_person() -> None:
    assert judge(ask(refusals=8), "Observation", answer(401), NOW).state is State.DEFERRED
    assert judge(ask(refusals=9), "Observation", answer(401), NOW).state is State.HELD


def test_an_encounter_refused_twice_for_the_same_reason_fails_the_result() -> None:
    refused = answer(400, outcome("59159"))
    assert judge(ask("epic", previous="59159"), "Observation", refused, NOW).state is State.FAILED


def test_epic_codes_of_another_system_mean_nothing() -> None:
    body = orjson.dumps(
        {"resourceType": "OperationOutcome", "issue": [{"details": {"coding": [{"system": "urn:x", "code": "59189"}]}}]}
    )
    assert judge(ask("epic"), "Observation", answer(400, body), NOW).state is State.FAILED


def test_trouble_of_the_endpoint_is_told_apart_from_trouble_of_the_result() -> None:
    whole = [
        judge(ask(), "Observation", a, NOW).whole_endpoint for a in (answer(429), answer(None, sent=False), answer(401))
    ]
    single = [judge(ask(), "Observation", a, NOW).whole_endpoint for a in (answer(400), answer(403), answer(500))]
    assert (whole, single) == ([True] * 3, [False] * 3)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", LONGEST_WAIT_S),
        ("9" * 400, None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (format_datetime(NOW.replace(minute=2), usegmt=True), 120.0),
        ("Wed, 21 Oct 1999 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", LONGEST_WAIT_S),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date_and_nonsense_is_ignored(text: str, wait_s: float | None) -> None:
    assert retry_after_s(answer(429, Retry_After=text), NOW) == wait_s
    assert judge(ask(), "Observation", answer(429, Retry_After=text), NOW).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("Observation/e1", ("e1", None)),
        ("/api/FHIR/R4/Observation/e1", ("e1", None)),
        ("https://h/r4/Observation/1/_history/3", ("1", "3")),
        ("https://h/r4/Observation/1?x=y", ("1", None)),
        ("https://h/r4/Patient/1", (None, None)),
        ("Observation/", (None, None)),
        ("Observation/../../Patient", (None, None)),
    ],
)
def test_the_place_of_a_new_observation_is_read_from_a_relative_or_absolute_location(
    location: str, expected: tuple[str | None, str | None]
) -> None:
    assert written(answer(201, Location=location), "Observation") == ResourceVersion(*expected)


def test_free_text_of_an_operation_outcome_is_not_a_code() -> None:
    body = orjson.dumps(
        {
            "resourceType": "OperationOutcome",
            "issue": [
                {"code": "Jane Doe, born 1970", "details": {"coding": [{"system": EPIC_CODES, "code": "Jane Doe"}]}}
            ],
        }
    )
    assert issues(body) == (frozenset(), frozenset())


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
    verdict = judge_search(ask(kind, action, **differs), cause, found)
    assert (verdict.state, verdict.code) == (state, code)


@given(asked, st.none() | st.sampled_from(["59189", "no_answer", "409"]), st.integers(0, 3), st.integers(0, 3))
def test_nothing_is_sent_again_where_the_ehr_cannot_refuse_a_repeat(
    question: AttemptContext, cause: str | None, same: int, different: int
) -> None:
    found = SearchMatches(tuple(ResourceVersion(str(n), None) for n in range(same)), different)
    verdict = judge_search(question, cause, found)
    capabilities = question.capabilities
    defended = capabilities.server_dedupes or capabilities.conditional_create or question.action == "update"
    assert verdict.state is not State.DEFERRED or (defended and not found.same)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waiting_grows_and_stays_within_its_limits(attempt: int, spread: float) -> None:
    wait_s = backoff_s(attempt, spread)
    assert 0.25 <= wait_s <= LONGEST_S
    assert backoff_s(attempt + 2, spread) >= min(wait_s, LONGEST_S / 2)
