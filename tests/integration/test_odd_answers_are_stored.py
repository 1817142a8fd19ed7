"""Whatever an EHR answers, the ledger in PostgreSQL takes what became of it, and the operation does not stand still."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.ledger import migrate, open_ledger
from schemas.ehr import EhrResponse, SearchParameters
from schemas.operation import State
from schemas.ports.ehr import LastCheck
from streams.delivery.dialects.epic import CODE_SYSTEM
from streams.delivery.role import Pace
from tests.delivering import RESTING, deliver_until, endpoint_delivery
from tests.ehrs import NAME, sandbox_ehr

ODD = "a\0b"


def outcome(code: str) -> bytes:
    details = {"coding": [{"system": CODE_SYSTEM, "code": code}]}
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [{"code": code, "details": details}]})


class OddEhr:
    """Answers every write as told, and finds the result in the chart under an id and version that are none."""

    def __init__(self, response: EhrResponse) -> None:
        self._response = response

    async def create(self, resource: Mapping[str, Any], last_check: LastCheck | None = None) -> EhrResponse:
        self._created = resource
        return self._response

    def forget_encounters(self, subject_id: str) -> None:
        pass

    async def search(
        self, resource_type: str, parameters: SearchParameters
    ) -> tuple[list[Mapping[str, Any]], EhrResponse]:
        found = {**self._created, "id": ODD, "meta": {"versionId": ODD}}
        return [found], EhrResponse(200, {}, orjson.dumps({"resourceType": "Bundle"}), sent=True)

    async def close(self) -> None:
        pass


RESPONSES = [
    EhrResponse(None, {}, b"", sent=True),
    EhrResponse(201, {"location": f"Observation/{ODD}", "etag": f'W/"{ODD}"'}, b"\0", sent=True),
    EhrResponse(201, {"location": "Observation/1\n", "etag": 'W/"1\n"'}, b"", sent=True),
    EhrResponse(201, {}, orjson.dumps({"resourceType": "Observation", "id": ODD}), sent=True),
    EhrResponse(400, {}, outcome("59189\0"), sent=True),
    EhrResponse(400, {}, outcome("59189\n"), sent=True),
    EhrResponse(422, {}, outcome(ODD), sent=True),
    EhrResponse(500, {}, b"\xff\0", sent=True),
]


@pytest.mark.parametrize("response", RESPONSES)
async def test_an_answer_with_what_no_database_takes_settles_its_operation(
    postgres: str, tmp_path: Path, response: EhrResponse
) -> None:
    migrate(postgres)
    ledger = open_ledger(postgres, None, subscribers=())
    with sandbox_ehr("fhir", tmp_path) as ehr:
        (recorded,) = ledger.record([ehr.intent("p0")])
        endpoint = ehr.endpoint()
        role = endpoint_delivery(
            OddEhr(response),  # type: ignore[arg-type]
            endpoint,
            ledger,
            ehr.observer,
            pace=Pace(search_delays_s=(0.0,), poll_s=0.005),
        )
        await deliver_until(role, lambda: set(ledger.states()[NAME]) <= RESTING)
        operation = ledger.operation(recorded.operation_id)
        assert operation is not None
        assert operation.state in (State.SUCCEEDED, State.FAILED)
        assert operation.code != "unstorable_answer"
        assert (operation.resource_id, operation.version) in [(None, None), ("1", None)]
    ledger.close()
