"""`vitalwire reconcile`."""

from __future__ import annotations

from typing import Any

from adapters.ledger import open_ledger
from schemas.report import ReconciliationReport
from vitalwire.cli.output import as_json, pairs, say
from vitalwire.reconcile import reconciled
from vitalwire.settings import from_environment

_NOT_FLAT = {"explanations", "quarantined", "intents_by_purpose", "balanced"}


def run_reconcile(*, as_json_document: bool) -> int:
    """Account for every reading; 1 if the counts do not balance."""
    settings = from_environment()
    report = reconciled(settings, open_ledger(settings.database, settings.ledger_encryption(), subscribers=()))
    if as_json_document:
        as_json(report.model_dump(mode="json"))
    else:
        pairs("Reconciliation report", rows(report))
        for explanation in report.explanations:
            say(explanation)
        say("The report balances." if report.balanced else "The report does NOT balance.")
    return int(not report.balanced)


def rows(report: ReconciliationReport) -> dict[str, Any]:
    """The report as names and values: a row for each count, reason of quarantine, and state of each purpose."""
    quarantined = {f"quarantined: {reason}": count for reason, count in sorted(report.quarantined.items())}
    intents = {
        f"intents: {purpose}, {state}": count
        for purpose, states in sorted(report.intents_by_purpose.items())
        for state, count in sorted(states.items())
    }
    return report.model_dump(exclude=_NOT_FLAT, exclude_none=True) | quarantined | intents
