"""`vitalwire reconcile`."""

from __future__ import annotations

from adapters.ledger import open_ledger
from vitalwire.cli.output import as_json, pairs, say
from vitalwire.reconcile import reconciled
from vitalwire.settings import from_environment


def run_reconcile(*, as_json_document: bool) -> int:
    """Account for every reading; 1 if the counts do not balance."""
    settings = from_environment()
    report = reconciled(settings, open_ledger(settings.database, settings.ledger_encryption(), subscribers=()))
    if as_json_document:
        as_json(report.model_dump(mode="json"))
    else:
        shown = report.model_dump(exclude={"explanations", "quarantined", "balanced"}, exclude_none=True)
        shown |= {f"quarantined: {reason}": count for reason, count in sorted(report.quarantined.items())}
        pairs("Reconciliation report", shown)
        for explanation in report.explanations:
            say(explanation)
        say("The report balances." if report.balanced else "The report does NOT balance.")
    return int(not report.balanced)
