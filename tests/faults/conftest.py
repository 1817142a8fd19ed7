"""The sandbox EHR with each profile in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ehrs import Ehr, sandbox_ehr
from tests.faults.charting import PATIENTS


@pytest.fixture(params=["epic", "oracle-health", "fhir"])
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr(request.param, tmp_path) as sandboxed:
        for patient in PATIENTS:
            sandboxed.seed(patient)
        yield sandboxed
