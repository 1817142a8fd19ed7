"""`vitalwire ledger list` and `vitalwire ledger show`. What is shown holds no patient data."""

from __future__ import annotations

from adapters.ledger import SqlLedger, open_ledger
from schemas.errors import VitalwireError
from vitalwire.cli.output import as_json, pairs, table
from vitalwire.settings import from_environment

_SHOWN = (
    "operation_id",
    "sequence",
    "state",
    "attempts",
    "amends",
    "http_status",
    "code",
    "message",
    "created_at",
    "next_attempt_at",
    "settled_at",
)


def run_list(*, as_json_document: bool) -> None:
    """Operations by endpoint and state."""
    states = {name: {str(s): n for s, n in counts.items()} for name, counts in _ledger().states().items()}
    if as_json_document:
        as_json(states)
    else:
        rows = ((name, state, count) for name, counts in states.items() for state, count in counts.items())
        table("Operations", ("endpoint", "state", "operations"), rows)


def run_show(operation_id: str, *, as_json_document: bool) -> None:
    """One operation without what it says of the patient."""
    ledger = _ledger()
    operation = ledger.operation(operation_id)
    if operation is None:
        raise VitalwireError(
            f"The ledger holds no operation {operation_id}. `vitalwire ledger list` shows what it holds."
        )
    shown = operation.model_dump(mode="json", include=set(_SHOWN))
    shown |= {"endpoint": operation.intent.endpoint, "resource_type": operation.intent.resource_type}
    if as_json_document:
        as_json(shown)
    else:
        pairs("Operation", shown)


def _ledger() -> SqlLedger:
    settings = from_environment()
    return open_ledger(settings.database, settings.ledger_encryption())
