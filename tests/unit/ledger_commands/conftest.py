"""A ledger in the file that `vitalwire ledger` opens, and reference data without Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.ledger import SqlLedger, open_ledger
from schemas.instants import epoch_us
from tests.doubles.ledger_commands import Everyone
from tests.doubles.ledgers import migrated_file
from tests.doubles.ports import fixed_clock
from vitalwire import release_review


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    url = migrated_file(tmp_path)
    monkeypatch.setenv("VITALWIRE_DATABASE", url)
    monkeypatch.delenv("VITALWIRE_LEDGER_KEY_FILE", raising=False)
    opened = open_ledger(url, None, lambda _db: epoch_us(fixed_clock()), subscribers=())
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> Everyone:
    records = Everyone()

    @contextmanager
    def current(_settings: object) -> Iterator[Everyone]:
        yield records

    monkeypatch.setattr(release_review, "current_reference", current)
    return records
