"""The ledger's database killed and started again in the middle of work."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.errors import RetryLater
from schemas.operation import Intent, Outcome, State
from testbed.servers.postgresql import PostgresServer
from tests.conditions import wait_until
from tests.doubles.ledgers import intent, reported_windows

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PATIENTS = 20
RECORDED = 600


def numbered(number: int) -> Intent:
    return intent(f"w{number}", patient=f"p{number % PATIENTS}", endpoint="epic")


def insisting_record(ledger: SqlLedger, intents: list[Intent], away: list[str]) -> None:
    while True:
        try:
            ledger.record(intents)
        except RetryLater as error:
            away.append(str(error))
        else:
            return


def test_a_database_that_is_away_is_retry_later_and_names_no_patient():
    with PostgresServer(Path("/dev/null")) as server:
        url = server.create_database("ledger")
        migrate(url)
        ledger = open_ledger(url, b"k" * 32, subscribers=())
        server.stop()
        with pytest.raises(RetryLater) as away:
            ledger.record([numbered(1).model_copy(update={"patient_id": "CANARY"})])
        assert "CANARY" not in repr(away.value)
        assert away.value.__cause__ is None
        ledger.close()


def test_killing_the_database_under_load_loses_and_doubles_nothing(tmp_path: Path):
    with PostgresServer(tmp_path / "postgresql.log") as server:
        url = server.create_database("ledger")
        migrate(url)
        ledger = open_ledger(url, b"k" * 32, subscribers=())
        recorded: list[int] = []
        away: list[str] = []

        def record() -> None:
            for number in range(RECORDED):
                insisting_record(ledger, [numbered(number)], away)
                recorded.append(number)

        worker = threading.Thread(target=record)
        worker.start()
        for kill_after in (RECORDED // 4, RECORDED // 2):
            wait_until(lambda after=kill_after: len(recorded) > after, what="some records")
            server.kill()
            seen = len(away)
            wait_until(lambda seen=seen: len(away) > seen, what="the loss to be noticed")
            server.start()
        worker.join()
        assert ledger.states() == {"epic": {State.PENDING: RECORDED}}
        assert reported_windows(ledger) == {f"w{number}-0" for number in range(RECORDED)}
        ledger.close()


def test_an_outcome_acknowledged_before_the_kill_is_there_after_it(tmp_path: Path):
    with PostgresServer(tmp_path / "postgresql.log") as server:
        url = server.create_database("ledger")
        migrate(url)
        ledger = open_ledger(url, b"k" * 32, subscribers=())
        ledger.record([numbered(number) for number in range(PATIENTS * 2)])
        first = ledger.claim("epic", PATIENTS, 60)
        ledger.settle(
            {op.operation_id: Outcome(fence=op.fence, state=State.SUCCEEDED, resource_id="o") for op in first}
        )
        server.kill()
        server.start()
        ledger.close()
        after = open_ledger(url, b"k" * 32, subscribers=())
        assert after.states() == {"epic": {State.SUCCEEDED: PATIENTS, State.PENDING: PATIENTS}}
        assert len(after.claim("epic", 100, 60)) == PATIENTS
        after.close()
