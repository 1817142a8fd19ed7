"""What is read from an EHR's response: when to try again, where the new resource is, and codes only."""

from email.utils import format_datetime

import orjson
import pytest

from schemas.ehr import ResourceVersion
from streams.delivery.dialects.epic import CODE_SYSTEM
from streams.delivery.ehr_response import LONGEST_WAIT_S, issues, retry_after_s, written_version
from streams.delivery.verdict import judge_response
from tests.doubles.ehr_responses import NOW, attempt_context, response_with


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
    assert retry_after_s(response_with(429, Retry_After=text), NOW) == wait_s
    assert (
        judge_response(attempt_context(), "Observation", response_with(429, Retry_After=text), NOW).retry_after_s
        == wait_s
    )


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
def test_the_id_of_a_new_observation_is_read_from_a_relative_or_absolute_location(
    location: str, expected: tuple[str | None, str | None]
) -> None:
    assert written_version(response_with(201, Location=location), "Observation") == ResourceVersion(*expected)


def test_free_text_of_an_operation_outcome_is_not_a_code() -> None:
    body = orjson.dumps(
        {
            "resourceType": "OperationOutcome",
            "issue": [
                {"code": "Jane Doe, born 1970", "details": {"coding": [{"system": CODE_SYSTEM, "code": "Jane Doe"}]}}
            ],
        }
    )
    assert issues(body) == (frozenset(), frozenset())
