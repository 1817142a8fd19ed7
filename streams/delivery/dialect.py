"""The model of a dialect: what an EHR's own error codes mean, as data. Pure."""

from __future__ import annotations

from typing import NamedTuple

from schemas.operation import State

ALREADY_THERE = "already_there"
"""Reason of a refusal that says the chart holds the result: it is read back and compared."""


class CodeRule(NamedTuple):
    """Error codes of the EHR's own, and what a response with one of them means."""

    codes: frozenset[str]
    state: State
    reason: str


class IssueRule(NamedTuple):
    """FHIR issue types that mean more at this EHR than the status they come with."""

    status: int
    types: frozenset[str]
    state: State
    reason: str


class Dialect(NamedTuple):
    """The error codes of one kind of EHR. Without rules the status alone decides."""

    code_system: str | None = None
    """Prefix of the coding systems of its own codes, whatever kind of endpoint they come through."""
    code_rules: tuple[CodeRule, ...] = ()
    """The first that applies decides."""
    encounter_refused: frozenset[str] = frozenset()
    """Codes after which the encounter is looked up again, once: it may have closed since."""
    issue_rules: tuple[IssueRule, ...] = ()
    """They apply to endpoints of this kind only: other servers use the same types."""
