"""Delivery against EHRs that fail in every way an EHR can: nothing twice, nothing lost, nothing claimed that is not so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import RetryLater
from schemas.operation import Operation, State
from streams.delivery.review import Stop
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import QUICK, at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr, now, sandbox_ehr

KINDS = ["epic", "oracle-health", "fhir"]
PATIENTS = [f"p{n}" for n in range(6)]
MINUTES = range(3)


@pytest.fixture(params=KINDS)
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr(request.param, tmp_path) as sandboxed:
        for patient in PATIENTS:
            sandboxed.seed(patient)
        yield sandboxed


def record_ward(ehr: Ehr, ledger: MemoryLedger) -> None:
    intents = [ehr.intent(p, minute=m, value=60 + 10 * m + n) for m in MINUTES for n, p in enumerate(PATIENTS)]
    ledger.record(intents)


def assert_chart_agrees(ehr: Ehr, ledger: MemoryLedger) -> None:
    """Every succeeded operation is in the chart once; nothing else is, but for what a person must decide about."""
    succeeded = [o for o in ledger.operations.values() if o.state is State.SUCCEEDED]
    charted = [observation for patient in PATIENTS for observation in ehr.observations(patient)]
    ids = [observation["id"] for observation in charted]
    assert sorted(str(o.resource_id) for o in succeeded) == sorted(ids)
    assert len({_content(observation) for observation in charted}) == len(charted)
    for operation in succeeded:
        observation = next(o for o in charted if o["id"] == operation.resource_id)
        meant = operation.intent.payload
        assert observation["subject"] == meant["subject"]
        assert observation["valueQuantity"]["value"] == meant["valueQuantity"]["value"]


def _content(observation: dict[str, Any]) -> tuple[object, ...]:
    when = observation.get("effectiveDateTime") or observation["effectivePeriod"]["end"]
    return observation["subject"]["reference"], when, observation["valueQuantity"]["value"]


async def test_an_undisturbed_ward_is_charted_once_and_in_order(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)
    for patient in PATIENTS:
        assert [o["valueQuantity"]["value"] // 10 for o in ehr.observations(patient)] == [6, 7, 8]


@pytest.mark.parametrize(
    "kind",
    [
        "commit_then_timeout",
        "commit_then_reset",
        "commit_then_error",
        "throttled",
        "unavailable",
        "slow",
    ],
)
async def test_what_the_ehr_has_or_plainly_has_not_ends_in_the_chart_once(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind, count=4, after=2, retry_after="0")])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ehr.sandbox.sandbox.faults.struck == {kind: 4}
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


@pytest.mark.parametrize("profile", ["epic", "oracle-health"])
async def test_a_token_that_the_ehr_forgets_is_replaced_once_and_nobody_notices(tmp_path: Path, profile: str) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        ledger = MemoryLedger()
        record_ward(ehr, ledger)
        ehr.sandbox.sandbox.faults.put([Fault(kind="expired_token", count=1, after=4)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.login.granted == 2
        assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
        assert_chart_agrees(ehr, ledger)


@pytest.mark.parametrize("kind", ["reset", "error", "html"])
async def test_a_lost_request_is_sent_again_only_where_the_ehr_refuses_repeats(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind, count=3)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    capabilities = ehr.endpoint().matrix.observation
    resent = capabilities.server_dedupes or capabilities.conditional_create
    everything = len(PATIENTS) * len(MINUTES)
    lost = 0 if resent else 3
    states = ledger.states()[NAME]
    assert states.get(State.HELD, 0) == lost
    assert states[State.SUCCEEDED] == everything - lost
    assert {o.code for o in ledger.operations.values() if o.state is State.HELD} <= {"absent"}
    assert_chart_agrees(ehr, ledger)


@pytest.mark.parametrize("kind", ["forbidden", "redirect"])
async def test_what_a_person_must_put_right_is_held_and_not_repeated(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0")])
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    [operation] = ledger.operations.values()
    assert operation.state is State.HELD
    assert len(ehr.observer.requests("Observation.create")) == 1
    assert ehr.observations("p0") == []


async def test_an_ehr_that_is_down_gets_everything_once_it_is_back(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind="unavailable", retry_after="0")])
    role = delivery(ehr, ledger)

    def tried_and_repaired() -> bool:
        if len(ehr.observer.requests("Observation.create")) >= 3:
            ehr.sandbox.sandbox.faults.put([])
        return at_rest(ledger)

    await deliver_until(role, tried_and_repaired)
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


async def test_a_crashed_worker_leaves_what_it_wrote_and_nothing_twice(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    intent = ehr.intent("p0")
    ledger.record([intent])
    [claimed] = ledger.claim(NAME, 1, lease_s=0)
    connection = ehr.connect()
    await connection.create(ehr.with_encounter(claimed.intent), claimed.intent)
    await connection.close()
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
    assert_chart_agrees(ehr, ledger)


async def test_a_reading_the_chart_contradicts_is_quarantined_and_never_overwritten(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        connection = ehr.connect()
        other = ehr.intent("p0", value=99)
        await connection.create(ehr.with_encounter(other), other)
        await connection.close()
        ehr.sandbox.sandbox.faults.put([Fault(kind="already_exists")])
        ledger.record([ehr.intent("p0", value=72)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [operation] = ledger.operations.values()
        assert (operation.state, operation.code) == (State.QUARANTINED, "59189")
        assert [o["valueQuantity"]["value"] for o in ehr.observations("p0")] == [99]


async def test_a_merged_patient_is_held_and_the_redirect_is_not_followed(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("survivor")
        ehr.sandbox.seed("p0", merged_into="survivor")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [operation] = ledger.operations.values()
        assert (operation.state, operation.code) == (State.HELD, "4107")
        assert ehr.observations("survivor") == []


async def test_withdrawn_consent_stops_what_was_recorded_under_it(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    withdrawn = {"p1", "p2"}

    def review(operation: Operation, at: object) -> Stop | None:
        return Stop(State.QUARANTINED, "no_consent") if operation.intent.patient_id in withdrawn else None

    role = delivery(ehr, ledger, review=review)
    await deliver_until(role, lambda: at_rest(ledger))
    refused = [o for o in ledger.operations.values() if o.state is State.QUARANTINED]
    assert {o.intent.patient_id for o in refused} == withdrawn
    assert {o.code for o in refused} == {"no_consent"}
    assert [ehr.observations(p) for p in withdrawn] == [[], []]


async def test_consent_that_cannot_be_read_sends_nothing_and_loses_nothing(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0")])
    asked: list[bool] = []

    def review(operation: Operation, at: object) -> None:
        asked.append(True)
        if len(asked) < 3:
            raise RetryLater("consents are not current", after_s=0.01)

    role = delivery(ehr, ledger, review=review)
    await deliver_until(role, lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
    assert [o.code for o in ledger.history["op-1"]] == ["consent_unavailable", "consent_unavailable", None]
    assert len(ehr.observations("p0")) == 1


async def test_a_token_first_refused_after_many_other_troubles_is_tried_again(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ledger.operations["op-1"] = ledger.operations["op-1"].model_copy(update={"attempts": 10, "code": "throttled"})
        ehr.sandbox.sandbox.faults.put([Fault(kind="unauthorized", count=2)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.faults.struck == {"unauthorized": 2}
        assert [o.code for o in ledger.history["op-1"]] == ["unauthorized", None]
        assert len(ehr.observations("p0")) == 1


async def test_a_token_refused_again_and_again_is_a_matter_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.delivery.verdict.UNAUTHORIZED_ATTEMPTS", 3)
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ehr.sandbox.sandbox.faults.put([Fault(kind="unauthorized")])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert [o.state for o in ledger.history["op-1"]] == [State.DEFERRED, State.DEFERRED, State.HELD]
        assert ledger.operations["op-1"].code == "unauthorized"


async def test_a_patient_without_an_encounter_waits_and_is_charted_when_there_is_one(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter=None)
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        role = delivery(ehr, ledger)

        def admitted() -> bool:
            if ledger.operations["op-1"].code == "no_encounter":
                ehr.seed("p0")
            return at_rest(ledger)

        await deliver_until(role, admitted)
        assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}


async def test_a_patient_long_without_an_encounter_is_held_for_a_person(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter="finished")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now() - timedelta(hours=1))
        await deliver_until(delivery(ehr, ledger, pace=replace(QUICK, encounter_wait_s=0.0)), lambda: at_rest(ledger))
        assert (ledger.operations["op-1"].state, ledger.operations["op-1"].code) == (State.HELD, "no_encounter")


async def test_an_encounter_that_closed_is_looked_up_again(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0", minute=0), ehr.intent("p0", minute=1)])
        role = delivery(ehr, ledger)

        def transferred() -> bool:
            if ledger.operations["op-1"].state is State.SUCCEEDED:
                ehr.sandbox.sandbox.store.by_type["Encounter"]["enc-p0"]["status"] = "finished"
                ehr.sandbox.seed("p0", encounter_id="enc-next")
            return at_rest(ledger)

        await deliver_until(role, transferred)
        assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}


async def test_a_changed_result_amends_the_observation_or_is_left_to_a_person(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0", value=72)])
    ledger.record([ehr.intent("p0", value=75)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    charted = [(o["status"], o["valueQuantity"]["value"]) for o in ehr.observations("p0")]
    if ehr.endpoint().matrix.observation.amend:
        assert charted == [("amended", 75)]
        assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}
    else:
        assert charted == [("final", 72)]
        assert ledger.operations["op-2"].code == "amend_unsupported"


@pytest.mark.parametrize("kind", ["commit_then_reset", "reset", "commit_then_error"])
async def test_an_amendment_whose_answer_is_lost_is_made_once(tmp_path: Path, kind: str) -> None:
    for profile in ("oracle-health", "fhir"):
        with sandbox_ehr(profile, tmp_path) as ehr:
            ehr.seed("p0")
            ledger = MemoryLedger()
            ledger.record([ehr.intent("p0", value=72), ehr.intent("p0", value=75)])
            ehr.sandbox.sandbox.faults.put([Fault(kind=kind, operation="update", count=1)])
            await deliver_until(delivery(ehr, ledger), lambda ledger=ledger: at_rest(ledger))
            [charted] = ehr.observations("p0")
            assert (charted["valueQuantity"]["value"], charted["meta"]["versionId"]) == (75, "2")
            assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}


@pytest.mark.parametrize("profile", ["oracle-health", "fhir"])
async def test_an_observation_changed_by_somebody_else_is_not_overwritten(tmp_path: Path, profile: str) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0", value=72)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [held] = ehr.observations("p0")
        ehr.sandbox.sandbox.store.replace(held, held | {"status": "entered-in-error"})
        ledger.record([ehr.intent("p0", value=75)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ledger.operations["op-2"].code == "version_conflict"
        assert [o["status"] for o in ehr.observations("p0")] == ["entered-in-error"]


async def test_a_ledger_that_goes_away_in_the_middle_neither_loses_nor_doubles(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    looks_while_away = 0

    def away_after_three_requests() -> bool:
        nonlocal looks_while_away
        ledger.away = len(ehr.observer.requests("Observation.create")) >= 3 and looks_while_away < 5
        looks_while_away += ledger.away
        return not ledger.away and at_rest(ledger)

    await deliver_until(delivery(ehr, ledger), away_after_three_requests)
    assert ("retries_total", {"dependency": "ledger"}) in ehr.observer.counted
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


async def test_what_was_charted_is_audited_once_with_its_outcome(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert sorted(str(step.operation_id) for step in ledger.steps) == sorted(ledger.operations)
    assert {(step.action, step.outcome) for step in ledger.steps} == {("observation.charted", "success")}


async def test_a_stop_leaves_nothing_in_progress(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_ward(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind="slow", delay_s=0.05)])
    await deliver_until(delivery(ehr, ledger), lambda: bool(ledger.history))
    assert State.IN_PROGRESS not in ledger.states()[NAME]
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


async def test_pages_that_repeat_rows_do_not_make_a_result_look_doubled(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        intent = ehr.intent("p0")
        connection = ehr.connect()
        for device in range(60):
            other = ehr.intent("p0", value=100 + device, device=f"mon-{device}")
            await connection.create(other.payload, other)
        await connection.create(intent.payload, intent)
        ehr.sandbox.sandbox.faults.put([Fault(kind="duplicate_pages", operation="search")])
        found, answer = await connection.find(intent)
        await connection.close()
        assert answer.error is None
        assert len(found) == 61


async def test_a_token_server_that_is_away_refuses_nobody_however_long_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.delivery.verdict.UNAUTHORIZED_ATTEMPTS", 3)
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ehr.sandbox.sandbox.faults.put([Fault(kind="unavailable", operation="token", count=6)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.faults.struck == {"unavailable": 6}
        assert ledger.operations["op-1"].state is State.SUCCEEDED
        assert {o.code for o in ledger.history["op-1"]} <= {"unavailable", "endpoint_paused", None}
