"""What the commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

_WIDTH_IN_FILES = 10_000  # wide enough that no line is cut for another program
out = Console(highlight=False, width=None if Console().is_terminal else _WIDTH_IN_FILES)
err = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Print an error message as one line on standard error."""
    err.print(Text(f"vitalwire: {message}"), soft_wrap=True)


def say(message: str) -> None:
    """Print one line on standard output, without markup."""
    out.print(Text(message), soft_wrap=True)


def note(message: str) -> None:
    """Print progress on standard error."""
    err.print(Text(message, style="dim"), soft_wrap=True)


def as_json_text(value: object) -> str:
    """A result as one JSON document."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def as_json(value: object) -> None:
    """Print a result as one JSON document."""
    sys.stdout.write(as_json_text(value))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a result as a table."""
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):  # the first column holds names to copy: never wrapped
        drawn.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    out.print(drawn)


def pairs(title: str, values: Mapping[str, Any]) -> None:
    """Print names and values as a table."""
    table(title, ("", ""), values.items())


def transfer_progress() -> Progress:
    """A progress bar in bytes, drawn only if standard error is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
