"""`vitalwire ledger list`, `show` and `release`. Only the output of `show` is patient data."""

from __future__ import annotations

import getpass

from adapters.ledger import SqlLedger, open_ledger
from schemas.errors import Misconfigured, VitalwireError
from schemas.operation import Operation, State
from streams.delivery.messages import MESSAGES
from vitalwire.cli import showing
from vitalwire.cli.output import as_json, complain, say, table
from vitalwire.release_review import compared_with_records
from vitalwire.releasing import Order, release
from vitalwire.settings import from_environment

_LISTED = ("operation_id", "endpoint", "vital_type", "state", "code", "message", "created_at")
_MOST_RELEASED = 10_000


def run_list(*, as_json_document: bool) -> None:
    """Count the operations by endpoint and state."""
    states = {name: {str(s): n for s, n in counts.items()} for name, counts in _ledger().states().items()}
    if as_json_document:
        as_json(states)
    else:
        rows = ((name, state, count) for name, counts in states.items() for state, count in counts.items())
        table("Operations", ("endpoint", "state", "operations"), rows)


def run_list_operations(
    endpoint: str | None, state: str | None, limit: int, *, stale: bool, as_json_document: bool
) -> None:
    """List the earliest operations that match every given option."""
    found = _ledger().find(endpoint=endpoint, state=_state(state), stale=stale, limit=limit)
    listed = [_listed(operation) for operation in found]
    if as_json_document:
        as_json(listed)
    else:
        table("Operations", _LISTED, (one.values() for one in listed))
        if len(listed) == limit:
            complain(f"only the earliest {limit} are listed; raise --limit to list more")


def run_release(
    operation_ids: list[str], endpoint: str | None, code: str | None, reason: str, *, as_json_document: bool
) -> int:
    """Release held operations that agree with the current records. 1 if a named operation was not released."""
    if bool(operation_ids) == (endpoint is not None and code is not None) or (operation_ids and (endpoint or code)):
        raise Misconfigured(
            "Give the ids of the operations to release, or --endpoint and --code to release all that are held for one cause."
        )
    ledger = _ledger()
    if not operation_ids:
        found = ledger.find(endpoint=endpoint, state=State.HELD, code=code, limit=_MOST_RELEASED)
        operation_ids = [operation.operation_id for operation in found]
    compared = compared_with_records(from_environment(), ledger, operation_ids)
    released = release(ledger, Order(compared.ready, getpass.getuser(), reason))
    readdressed = [one for one in compared.readdressed if one in released]
    others = sorted(set(operation_ids) - set(released) - compared.kept.keys())
    if as_json_document:
        document = {"released": released, "readdressed": readdressed, "kept": compared.kept, "not_held": others}
        as_json(document)
    else:
        say(_summary(len(released), named=len(operation_ids), code=code))
        for one in readdressed:
            say(f"{one} will be sent to the patient's corrected id at the endpoint")
        for one, why in compared.kept.items():
            complain(f"{one} stays held ({why}): {MESSAGES[why]}")
        for other in others:
            complain(f"{other} is not held; it was not changed")
    return 1 if others or compared.kept else 0


def run_show(operation_id: str, *, as_json_document: bool) -> None:
    """Show one operation and all its attempts. The output names the patient."""
    ledger = _ledger()
    operation = ledger.operation(operation_id)
    if operation is None:
        raise VitalwireError(
            f"The ledger has no operation {operation_id}. `vitalwire ledger list` lists its operations."
        )
    shown = showing.document(operation, ledger.attempts(operation_id))
    if as_json_document:
        as_json(shown)
    else:
        showing.show(shown)


def _summary(released: int, named: int, code: str | None) -> str:
    if not named:
        return f"no operation is held at this endpoint for {code}: nothing was released"
    return f"{released} released" + ("; delivery will attempt them again" if released else "")


def _state(name: str | None) -> State | None:
    try:
        return None if name is None else State(name)
    except ValueError:
        raise Misconfigured(f"There is no state '{name}'. Choose one of: {', '.join(State)}.") from None


def _listed(operation: Operation) -> dict[str, str | None]:
    of_operation = operation.model_dump(mode="json", include=set(_LISTED))
    of_intent = {"endpoint": operation.intent.endpoint, "vital_type": operation.intent.scope}
    return {name: (of_operation | of_intent)[name] for name in _LISTED}


def _ledger() -> SqlLedger:
    settings = from_environment()
    return open_ledger(settings.database, settings.ledger_encryption(), subscribers=())
