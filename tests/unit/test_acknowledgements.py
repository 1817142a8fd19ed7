"""Acknowledgements are judged alike whether HTTP or HL7 v2 brings them; HTTP's own rules only say more about the same."""

import pytest

from schemas.ehr import Acknowledgement, EhrResponse
from schemas.endpoint_kinds import DEFAULTS
from schemas.operation import State
from streams.delivery.http_rules import BY_STATUS
from streams.delivery.verdict import AttemptContext, judge_response
from tests.ehrs import now

FITTING = {
    Acknowledgement.ACCEPT: {State.SUCCEEDED, State.UNKNOWN},
    Acknowledgement.ERROR: {State.FAILED},
    Acknowledgement.REJECT: {State.HELD, State.DEFERRED},
    None: {State.UNKNOWN},
}


def judged(response: EhrResponse, kind: str = "fhir") -> tuple[State, str | None]:
    context = AttemptContext(kind, DEFAULTS[kind].observation, "create")
    verdict = judge_response(context, "Observation", response, now())
    return verdict.state, verdict.code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Acknowledgement.ACCEPT, (State.SUCCEEDED, None)),
        (Acknowledgement.ERROR, (State.FAILED, "refused")),
        (Acknowledgement.REJECT, (State.HELD, "rejected")),
        (None, (State.UNKNOWN, "no_answer")),
    ],
)
def test_an_hl7_v2_acknowledgement_is_judged_by_its_code(
    code: Acknowledgement | None, expected: tuple[State, str | None]
) -> None:
    response = EhrResponse(None, {}, b"MSH|^~\\&|", sent=True, msa_1=code)
    assert response.acknowledgement is code
    assert judged(response, "hl7v2") == expected


@pytest.mark.parametrize("status", range(100, 600))
def test_what_http_says_of_a_status_fits_its_acknowledgement(status: int) -> None:
    response = EhrResponse(status, {}, b"", sent=True)
    state, code = judged(response)
    assert state in FITTING[response.acknowledgement], code


@pytest.mark.parametrize(
    ("status", "acknowledgement"),
    [
        *((status, "AA") for status in (200, 201)),
        *((status, "AE") for status in (400, 422)),
        *((status, "AR") for status in (301, 401, 403, 404, 412, 429, 501)),
        *((status, None) for status in (202, 204, 303, 408, 409, 500, 503)),
    ],
)
def test_an_http_status_amounts_to_an_acknowledgement_or_to_none(status: int, acknowledgement: str | None) -> None:
    assert EhrResponse(status, {}, b"", sent=True).acknowledgement == acknowledgement


def test_a_rule_of_http_for_one_status_says_something_that_its_acknowledgement_does_not() -> None:
    reasons = {reason for _, reason in BY_STATUS.values()}
    assert "rejected" not in reasons
    assert "refused" not in reasons
