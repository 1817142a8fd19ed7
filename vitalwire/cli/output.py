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

_WIDTH_IN_FILES = 10_000  # nothing is cut that another program reads
out = Console(highlight=False, width=None if Console().is_terminal else _WIDTH_IN_FILES)
err = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """One line on standard error, for a person."""
    err.print(Text(f"vitalwire: {message}"), soft_wrap=True)


def say(message: str) -> None:
    """One line on standard output, as it is."""
    out.print(Text(message), soft_wrap=True)


def note(message: str) -> None:
    """Progress on standard error."""
    err.print(Text(message, style="dim"), soft_wrap=True)


def as_json_text(value: object) -> str:
    """A result for a machine: one JSON document."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def as_json(value: object) -> None:
    """The same on standard output."""
    sys.stdout.write(as_json_text(value))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A result for a person."""
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):  # the first column names things: it is to be copied whole
        drawn.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    out.print(drawn)


def pairs(title: str, values: Mapping[str, Any]) -> None:
    """A result of names and values."""
    table(title, ("", ""), values.items())


def transfer_progress() -> Progress:
    """A progress bar in bytes; nothing is drawn where standard error is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
