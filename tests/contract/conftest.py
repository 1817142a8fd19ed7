"""A migrated ledger on each database, whose clock a test moves."""

from collections.abc import Iterator

import pytest

from adapters.ledger import SqlLedger, migrate
from tests.doubles.ledgers import HandClock, ledger_at


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(database_url: str, clock: HandClock) -> Iterator[SqlLedger]:
    migrate(database_url)
    opened = ledger_at(database_url, clock)
    yield opened
    opened.close()
