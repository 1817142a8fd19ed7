"""The command `vitalwire` as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def vitalwire_command(*arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """The command line, with these variables and none of the caller's own VITALWIRE_ ones."""
    given = [f"{name}={value}" for name, value in (environment or {}).items()]
    return ["/usr/bin/env", *given, sys.executable, "-m", "vitalwire", *arguments]


def command_in_batches_of(records: int, *arguments: str, environment: Mapping[str, str]) -> list[str]:
    """The same, taking at most so many records of a partition at once."""
    return command_after(
        f"from streams.runtime import worker; worker.MAX_BATCH_RECORDS = {records}", *arguments, environment=environment
    )


def command_after(before: str, *arguments: str, environment: Mapping[str, str]) -> list[str]:
    """The same, in a process where this was executed first."""
    given = [f"{name}={value}" for name, value in environment.items()]
    program = f"{before}\nfrom vitalwire.cli import main; main()"
    return ["/usr/bin/env", *given, sys.executable, "-c", program, *arguments]
