"""The verdict is total: any response gets one, the ledger can store it, and no write is repeated blindly."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mappings.observation.match import compare
from schemas.ehr import EhrResponse, ResourceVersion, SearchMatches
from schemas.operation import State
from streams.delivery.ehr_response import LONGEST_WAIT_S
from streams.delivery.messages import MESSAGES
from streams.delivery.verdict import AttemptContext, judge_response, judge_search
from streams.runtime.backoff import LONGEST_S, backoff_s
from tests.doubles.ehr_responses import NOW
from tests.property.ehr_responses import MEANT, contexts, odd_bodies, odd_responses, responses


@given(contexts, responses)
def test_any_response_gives_a_verdict_and_never_an_exception(context: AttemptContext, response: EhrResponse) -> None:
    verdict = judge_response(context, "Observation", response, NOW)
    assert verdict.state in State
    assert verdict.state is State.SUCCEEDED or (verdict.code and verdict.message)
    assert verdict.retry_after_s is None or 0 <= verdict.retry_after_s <= LONGEST_WAIT_S


@given(contexts, responses)
def test_no_text_of_the_ehr_is_shown_in_a_verdict(context: AttemptContext, response: EhrResponse) -> None:
    verdict = judge_response(context, "Observation", response, NOW)
    assert verdict.message is None or verdict.message in MESSAGES.values()
    assert verdict.code is None or verdict.code.replace("_", "").replace("-", "").isalnum()


@given(contexts, responses)
def test_what_may_have_been_written_is_never_sent_again_unlooked_for(
    context: AttemptContext, response: EhrResponse
) -> None:
    silent = response._replace(status=None, sent=True)
    verdict = judge_response(context, "Observation", silent, NOW)
    assert verdict.state is (State.DEFERRED if context.action == "search" else State.UNKNOWN)


@given(contexts, responses)
def test_only_a_response_that_names_what_was_written_counts_as_written(
    context: AttemptContext, response: EhrResponse
) -> None:
    verdict = judge_response(context, "Observation", response, NOW)
    if context.action == "create" and verdict.state is State.SUCCEEDED:
        assert response.status in (200, 201)
        assert verdict.resource_id


def storable(text: str | None) -> bool:
    """Whether PostgreSQL takes it in a text column and HTTP in a header."""
    return text is None or (text.isascii() and text.isprintable() and len(text) <= 128)


@given(contexts, odd_responses | responses)
def test_whatever_an_ehr_responds_can_be_written_to_the_ledger(context: AttemptContext, response: EhrResponse) -> None:
    verdict = judge_response(context, "Observation", response, NOW)
    assert storable(verdict.code)
    assert storable(verdict.resource_id)
    assert storable(verdict.version)


@given(contexts, odd_bodies)
def test_whatever_is_in_the_chart_can_be_written_to_the_ledger(context: AttemptContext, body: dict[str, Any]) -> None:
    verdict = judge_search(context, "no_answer", compare(body | MEANT, [body | MEANT]))
    assert storable(verdict.resource_id)
    assert storable(verdict.version)


@given(contexts, responses, st.sampled_from([400, 403, 404, 409, 412, 422]))
def test_a_search_is_never_the_fault_of_the_result(context: AttemptContext, response: EhrResponse, status: int) -> None:
    search = context._replace(action="search")
    verdict = judge_response(search, "Observation", response._replace(status=status), NOW)
    assert verdict.state not in (State.FAILED, State.UNKNOWN, State.SUCCEEDED)


@given(contexts, st.none() | st.sampled_from(["59189", "no_answer", "409"]), st.integers(0, 3), st.integers(0, 3))
def test_nothing_is_sent_again_where_the_ehr_cannot_refuse_a_repeat(
    context: AttemptContext, cause: str | None, same: int, different: int
) -> None:
    found = SearchMatches(tuple(ResourceVersion(str(n), None) for n in range(same)), different)
    verdict = judge_search(context, cause, found)
    capabilities = context.capabilities
    defended = capabilities.server_dedupes or capabilities.conditional_create or context.action == "update"
    assert verdict.state is not State.DEFERRED or (defended and not found.same)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waiting_grows_and_stays_within_its_limits(attempt: int, spread: float) -> None:
    wait_s = backoff_s(attempt, spread)
    assert 0.25 <= wait_s <= LONGEST_S
    assert backoff_s(attempt + 2, spread) >= min(wait_s, LONGEST_S / 2)
