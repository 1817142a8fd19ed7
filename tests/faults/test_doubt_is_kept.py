"""A write whose answer was lost stays in doubt until a search or a person says what became of it, whatever comes between."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import streams.delivery.attempt
import streams.delivery.endpoint_gate
from adapters.ehr.fhir import FhirEndpoint
from adapters.ledger import SqlLedger, open_ledger
from mappings.observation.kind import ObservationKind
from schemas.ehr import EhrResponse
from schemas.errors import RetryLater
from schemas.operation import Operation, State
from streams.delivery.review import review
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import RESTING, deliver_until, delivery
from tests.doubles.ledgers import migrated_file
from tests.doubles.ports import StaticReference
from tests.ehrs import NAME, Ehr, now, sandbox_ehr
from vitalwire.release_review import compared

LOST = Fault(kind="commit_then_reset", operation="create", count=1)
REFUSED_SEARCHES = {
    "forbidden": [Fault(kind="forbidden", operation="search")],
    "unauthorized": [Fault(kind="unauthorized", operation="search")],
    "token_refused": [
        Fault(kind="expired_token", operation="search", count=1),
        Fault(kind="forbidden", operation="token", after=1),
    ],
}


@pytest.fixture(autouse=True)
def patient_only_for_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.delivery.endpoint_gate, "backoff_s", lambda *_: 0.02)
    monkeypatch.setattr(streams.delivery.endpoint_gate, "LONGEST_PAUSE_S", 0.02)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with closing(open_ledger(migrated_file(tmp_path), bytes(32), subscribers=())) as opened:
        yield opened


@pytest.fixture(params=["oracle-health", "fhir"])
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr(request.param, tmp_path) as sandboxed:
        for patient in ("p0", "right"):
            sandboxed.seed(patient)
        yield sandboxed


class SingleResult:
    """One result for one patient, delivered to its rest as often as a test wants."""

    def __init__(self, ehr: Ehr, ledger: SqlLedger) -> None:
        self.ehr, self.ledger = ehr, ledger
        self.reference = StaticReference()
        self.is_known_as("p0")
        (self.recorded,) = ledger.record([ehr.intent("p0")])

    def is_known_as(self, subject_id: str) -> None:
        self.reference.admit("p0", **{NAME: subject_id})

    def deliver(self) -> Operation:
        def at_rest() -> bool:
            return set(self.ledger.states()[NAME]) <= RESTING

        role = delivery(self.ehr, self.ledger, timeout_s=2, review=lambda one, at: review(one, self.reference, at))
        asyncio.run(deliver_until(role, at_rest))
        return self.operation()

    def operation(self) -> Operation:
        operation = self.ledger.operation(self.recorded.operation_id)
        assert operation is not None
        return operation

    def release(self) -> None:
        assert self.ledger.release([self.recorded.operation_id]) == [self.recorded.operation_id]

    def observations(self) -> tuple[int, int]:
        """How many results stand in the first chart, and how many in the other."""
        return len(self.ehr.observations("p0")), len(self.ehr.observations("right"))


@pytest.fixture
def result(ehr: Ehr, ledger: SqlLedger) -> SingleResult:
    return SingleResult(ehr, ledger)


def strike(ehr: Ehr, *faults: Fault) -> None:
    assert ehr.sandbox is not None
    ehr.sandbox.sandbox.faults.put(list(faults))


@pytest.mark.parametrize(
    ("ehr", "code"),
    [("oracle-health", code) for code in REFUSED_SEARCHES]
    + [("fhir", code) for code in REFUSED_SEARCHES if code != "token_refused"],  # the plain FHIR server needs no token
    indirect=["ehr"],
)
def test_a_lost_answer_whose_search_is_refused_is_searched_again_when_it_is_released(
    result: SingleResult, code: str
) -> None:
    strike(result.ehr, LOST, *REFUSED_SEARCHES[code])
    held = result.deliver()
    assert (held.state, held.code, held.in_doubt) == (State.HELD, code, True)
    strike(result.ehr)
    result.release()
    assert result.operation().state is State.UNKNOWN
    assert result.deliver().state is State.SUCCEEDED
    assert len(result.ehr.observer.requests("Observation.create")) == 1
    assert result.observations() == (1, 0)


def test_a_result_that_may_be_in_one_chart_is_never_released_to_another(result: SingleResult) -> None:
    strike(result.ehr, LOST, *REFUSED_SEARCHES["forbidden"])
    held = result.deliver()
    strike(result.ehr)
    result.is_known_as("right")
    found = compared([held], result.reference, now())
    assert (found.ready, found.kept) == ([], {held.operation_id: "subject_changed"})
    result.release()  # even if it were
    result.deliver()
    assert result.observations() == (1, 0)


def test_a_result_that_no_search_finds_is_not_sent_to_another_patient_when_it_is_released(
    result: SingleResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index may lag behind for longer than is searched."""

    async def nothing(*_asked: object) -> tuple[list[Any], EhrResponse]:
        return [], EhrResponse(200, {}, b"{}", sent=True)

    monkeypatch.setattr(FhirEndpoint, "search", nothing)
    strike(result.ehr, LOST)
    if result.ehr.endpoint().matrix.observation.conditional_create:
        assert result.deliver().state is State.SUCCEEDED  # sent again, conditionally: the EHR itself knows it
    else:
        assert (result.deliver().code, result.operation().in_doubt) == ("absent", True)
        result.is_known_as("right")
        result.release()
        assert (result.deliver().state, result.operation().code) == (State.HELD, "subject_changed")
    assert result.observations() == (1, 0)


@pytest.mark.parametrize(
    ("module", "name"), [(streams.delivery.attempt, "judge_response"), (ObservationKind, "same_as")]
)
def test_a_defect_of_ours_after_sending_leaves_the_write_in_doubt(
    result: SingleResult, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect")

    with monkeypatch.context() as defect:
        defect.setattr(module, name, broken)
        strike(result.ehr, LOST)
        held = result.deliver()
    assert (held.state, held.code, held.in_doubt) == (State.HELD, "internal_error", True)
    result.release()
    assert result.deliver().state is State.SUCCEEDED
    assert result.observations() == (1, 0)


def test_a_defect_of_ours_before_sending_leaves_no_doubt(result: SingleResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect")

    with monkeypatch.context() as defect:
        defect.setattr(streams.delivery.attempt, "plan_write", broken)
        held = result.deliver()
    assert (held.code, held.in_doubt) == ("internal_error", False)
    result.release()
    assert result.operation().state is State.PENDING
    assert result.deliver().state is State.SUCCEEDED


def test_a_ledger_that_is_away_while_doubt_is_settled_does_not_end_the_doubt(
    result: SingleResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was unknown must not come back as something that may simply be sent."""
    strike(result.ehr, LOST, *REFUSED_SEARCHES["forbidden"])
    result.deliver()
    strike(result.ehr)
    result.release()
    real, away = streams.delivery.attempt.plan_write, iter([True])

    async def plan(*asked: Any) -> Any:
        if next(away, False):
            raise RetryLater("the ledger is away")
        return await real(*asked)

    monkeypatch.setattr(streams.delivery.attempt, "plan_write", plan)
    assert result.deliver().state is State.SUCCEEDED
    assert len(result.ehr.observer.requests("Observation.create")) == 1
    assert result.observations() == (1, 0)


def test_a_definite_refusal_leaves_no_doubt_and_is_sent_when_it_is_released(result: SingleResult) -> None:
    strike(result.ehr, Fault(kind="forbidden", operation="create", count=1))
    held = result.deliver()
    assert (held.code, held.in_doubt) == ("forbidden", False)
    result.release()
    assert result.operation().state is State.PENDING
    assert result.deliver().state is State.SUCCEEDED
    assert result.ehr.observer.requests("Observation.search") == []
