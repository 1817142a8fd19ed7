"""What `vitalwire check` reports: file, line, column, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from schemas.errors import Misconfigured


class Finding(NamedTuple):
    """One mistake in a configuration or template. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} → {self.remedy}"


class InvalidConfiguration(Misconfigured):
    """The configuration or one of its templates is invalid; `findings` holds every mistake."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    near = get_close_matches(str(given), names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"use one of: {', '.join(names) or 'none is defined'}"
