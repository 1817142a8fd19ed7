"""The ledger against a model of it that fits on a page, over any sequence of calls, on both databases."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters.ledger import migrate
from adapters.ledger.engine import connect
from adapters.ledger.tables import attempts, operations, ordering_keys, tallies
from schemas.config import LedgerKeeping
from schemas.operation import TERMINAL, Intent, Outcome, State
from tests.doubles.ledgers import HandClock, intent, ledger_at

EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
LEASE_S = 60
ENDPOINTS = ("epic", "fhir")
CONTENTS = st.sampled_from("xyz")
EVENTS = st.integers(0, 3)
PATIENTS = st.sampled_from(("p", "q", "r"))
SETTLED = st.sampled_from(sorted(set(State) - {State.IN_PROGRESS, State.PENDING}))
LEASED = {State.IN_PROGRESS, State.UNKNOWN}
CODES = st.sampled_from((None, "absent", "forbidden"))
SECONDS = st.integers(0, 90)


def nth_intent(endpoint: str, patient: str, event: int, content: str) -> Intent:
    return intent(f"{patient}{event}", patient=patient, endpoint=endpoint, content=content)


class Modelled:
    """One operation of the model."""

    def __init__(self, made_of: Intent, now: datetime) -> None:
        self.intent = made_of
        self.state = State.PENDING
        self.due: datetime | None = now
        self.attempts = 0
        self.fence = 0
        self.answered = 0
        self.in_doubt = False
        self.code: str | None = None

    def key(self) -> tuple[str, str, str]:
        return self.intent.endpoint, self.intent.source.event_id, self.intent.content_hash


class LedgerMachine(RuleBasedStateMachine):
    url = ""

    @initialize()
    def begin(self) -> None:
        engine = connect(self.url)
        with engine.begin() as db:
            for table in (operations, ordering_keys, attempts, tallies):
                db.execute(table.delete())
        engine.dispose()
        self.clock = HandClock()
        self.clock.now = EPOCH
        self.ledger = ledger_at(self.url, self.clock)
        self.model: list[Modelled] = []
        self.ids: dict[tuple[str, str, str], str] = {}

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()

    @rule()
    def tidy(self) -> None:
        """The counts are added up; nothing is old enough to be forgotten."""
        assert not self.ledger.purge_expired(LedgerKeeping())

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @rule(batch=st.lists(st.tuples(st.sampled_from(ENDPOINTS), PATIENTS, EVENTS, CONTENTS), min_size=1, max_size=6))
    def record(self, batch: list[tuple[str, str, int, str]]) -> None:
        intents = [nth_intent(*one) for one in batch]
        for made_of, recorded in zip(intents, self.ledger.record(intents), strict=True):
            fresh = Modelled(made_of, self.now)
            known = {m.key(): m for m in self.model}
            same_event = [m for m in self.model if m.key()[:2] == fresh.key()[:2]]
            assert recorded.duplicate == (fresh.key() in known)
            assert recorded.operation_id == self.ids.setdefault(fresh.key(), recorded.operation_id)
            if not recorded.duplicate:
                assert recorded.amends == (self.ids[same_event[-1].key()] if same_event else None)
                self.model.append(fresh)

    @rule(endpoint=st.sampled_from(ENDPOINTS), limit=st.integers(1, 3))
    def claim(self, endpoint: str, limit: int) -> None:
        due = self.claimable(endpoint)
        claimed = self.ledger.claim(endpoint, limit, LEASE_S)
        assert len(claimed) == min(limit, len(due))
        for operation in claimed:
            modelled = next(m for m in due if self.ids[m.key()] == operation.operation_id)
            fresh = modelled.state in {State.PENDING, State.DEFERRED}
            modelled.state = State.IN_PROGRESS if fresh else State.UNKNOWN
            modelled.attempts += 1
            modelled.fence += 1
            modelled.in_doubt |= not fresh
            assert operation.fence == modelled.fence
            modelled.due = self.now + timedelta(seconds=LEASE_S)
            assert operation.state is modelled.state
            assert operation.intent == modelled.intent

    @rule(data=st.data(), state=SETTLED, wait_s=SECONDS, code=CODES, in_doubt=st.booleans())
    def settle(self, data: st.DataObject, state: State, wait_s: int, code: str | None, in_doubt: bool) -> None:
        """By whoever ever held a claim: only the last one's outcome counts, and that once."""
        if not self.model:
            return
        modelled = data.draw(st.sampled_from(self.model))
        fence = data.draw(st.integers(0, modelled.fence))
        key = self.ids[modelled.key()]
        stale = self.ledger.settle(
            {key: Outcome(state=state, fence=fence, code=code, retry_after_s=wait_s, in_doubt=in_doubt)}
        )
        if 0 < fence == modelled.answered:
            assert stale == []
        elif fence != modelled.fence or modelled.state not in LEASED:
            assert stale == [key]
        else:
            assert stale == []
            modelled.state, modelled.answered, modelled.code = state, fence, code
            modelled.in_doubt |= in_doubt or state is State.UNKNOWN
            modelled.due = None if state in TERMINAL | {State.HELD} else self.now + timedelta(seconds=wait_s)

    @property
    def now(self) -> datetime:
        return self.clock.now

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if not self.model:
            return
        modelled = data.draw(st.sampled_from(self.model))
        operation_id = self.ids[modelled.key()]
        held = modelled.state is State.HELD
        assert self.ledger.release([operation_id]) == ([operation_id] if held else [])
        if held:
            modelled.due = max([self.now, *self.leases(modelled)])
            searched_first = modelled.in_doubt and modelled.code != "absent"
            modelled.state = State.UNKNOWN if searched_first else State.PENDING
            modelled.fence += 1

    def leases(self, beside: Modelled) -> list[datetime]:
        return [
            m.due
            for m in self.model
            if (m.intent.endpoint, m.intent.patient_id) == (beside.intent.endpoint, beside.intent.patient_id)
            and m.due is not None
            and m.state in {State.IN_PROGRESS, State.UNKNOWN}
        ]

    def claimable(self, endpoint: str) -> list[Modelled]:
        heads: dict[str, Modelled] = {}
        for modelled in self.model:
            if modelled.intent.endpoint == endpoint and modelled.due is not None:
                heads.setdefault(modelled.intent.patient_id, modelled)
        return [m for m in heads.values() if m.due is not None and m.due <= self.now]

    @invariant()
    def every_operation_is_as_the_model_says(self) -> None:
        counts: dict[str, dict[State, int]] = {}
        for modelled in self.model:
            per_endpoint = counts.setdefault(modelled.intent.endpoint, {})
            per_endpoint[modelled.state] = per_endpoint.get(modelled.state, 0) + 1
            kept = self.ledger.operation(self.ids[modelled.key()])
            assert kept is not None
            assert (kept.state, kept.attempts, kept.next_attempt_at, kept.fence, kept.in_doubt) == (
                modelled.state,
                modelled.attempts,
                modelled.due,
                modelled.fence,
                modelled.in_doubt,
            )
        assert self.ledger.states() == counts


def test_any_sequence_of_calls_leaves_the_ledger_as_the_model_says(database_url: str):
    migrate(database_url)
    machine = type("LedgerOfThisDatabase", (LedgerMachine,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
