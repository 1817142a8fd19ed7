"""Responses of an EHR and the attempts that they end."""

from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.ehr import EhrResponse
from schemas.endpoint_kinds import DEFAULTS
from streams.delivery.dialects.epic import CODE_SYSTEM
from streams.delivery.verdict import AttemptContext

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def attempt_context(
    kind: str = "fhir", action: str = "create", previous: str | None = None, refusals: int = 0, **differs: Any
) -> AttemptContext:
    capabilities = DEFAULTS[kind].observation.model_copy(update=differs)
    return AttemptContext(kind, capabilities, action, previous, refusals)


def outcome(*codes: str, fhir: str = "processing") -> bytes:
    coded = [{"code": fhir, "details": {"coding": [{"system": f"{CODE_SYSTEM}.1", "code": code}]}} for code in codes]
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": coded or [{"code": fhir}]})


def response_with(status: int | None, body: bytes = b"", sent: bool = True, **headers: str) -> EhrResponse:
    return EhrResponse(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, sent)
