"""A SQLite ledger restored from a backup, with or without the log that a killed worker left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.ledger import migrate, open_ledger, require_sound
from schemas.errors import Misconfigured
from schemas.operation import State
from schemas.ports.kafka import GroupPosition
from schemas.ports.ledger import OutboxEntries
from tests.doubles.ledgers import KEY

_WORKER = """
import os, signal, sys
from adapters.ledger import migrate, open_ledger, require_sound
from schemas.ports.kafka import GroupPosition
from schemas.ports.ledger import OutboxEntries
from tests.doubles.ledgers import KEY, intent
url, first, last, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
require_sound(url)
migrate(url)
ledger = open_ledger(url, KEY, subscribers=())
ledger.take_over("vitals.windows", {0: GroupPosition(None, 9)}, 1.0, OutboxEntries("clinical"))
for number in range(first, last):
    ledger.record([intent(f"w{number}", patient=f"p{number}")])
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
ledger.close()
"""


def worker(url: str, first: int, last: int, end: str) -> None:
    command = [sys.executable, "-c", _WORKER, url, str(first), str(last), end]
    done = subprocess.run(command, check=False, timeout=120, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    assert done.returncode == (-9 if end == "killed" else 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a ledger.sqlite"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def backup(file: Path, url: str, tmp_path: Path) -> Path:
    worker(url, 0, 20, "stopped")
    return Path(shutil.copy(file, tmp_path / "backup"))


def take_over(url: str) -> tuple[bool, int]:
    """Whether it went back, and how many operations it holds."""
    require_sound(url)
    migrate(url)
    ledger = open_ledger(url, KEY, subscribers=())
    went_back = ledger.take_over("vitals.windows", {0: GroupPosition(None, 9)}, 1.0, OutboxEntries("clinical"))
    held = sum(ledger.states()["north-epic"].values())
    assert not went_back or set(ledger.states()["north-epic"]) == {State.UNKNOWN}
    ledger.close()
    return went_back, held


@pytest.mark.parametrize("more", [3, 60, 150])
def test_a_backup_next_to_a_killed_workers_log_is_refused_with_a_remedy_that_helps(
    file: Path, url: str, backup: Path, more: int
):
    worker(url, 20, 20 + more, "killed")
    shutil.copy(backup, file)
    with pytest.raises(Misconfigured, match="-wal and -shm"):
        require_sound(url)
    for journal in ("-wal", "-shm"):
        Path(f"{file}{journal}").unlink(missing_ok=True)
    assert take_over(url) == (True, 20)


def test_a_killed_workers_own_log_is_taken(file: Path, url: str, backup: Path):
    worker(url, 20, 80, "killed")
    assert Path(f"{file}-wal").stat().st_size > 0
    assert take_over(url) == (False, 80)


def test_a_damaged_file_is_refused(file: Path, url: str, backup: Path):
    with file.open("r+b") as damaged:
        damaged.seek(4096 * 3)
        damaged.write(os.urandom(4096 * 4))
    with pytest.raises(Misconfigured, match="damaged"):
        require_sound(url)


def test_a_ledger_that_does_not_exist_yet_and_one_in_memory_are_accepted(file: Path, url: str):
    require_sound(url)
    assert not file.exists(), "looking at it does not make it"
    require_sound("sqlite:///:memory:")
    require_sound("sqlite://")
