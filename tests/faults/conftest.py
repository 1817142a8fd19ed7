"""EHRs to fail: the sandbox with each profile in turn, and one over HTTP/2."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.doubles.http2_ehr import Http2Ehr, http2_ehr
from tests.ehrs import Ehr, sandbox_ehr
from tests.faults.charting import PATIENTS


@pytest.fixture(params=["epic", "oracle-health", "fhir"])
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr(request.param, tmp_path) as sandboxed:
        for patient in PATIENTS:
            sandboxed.seed(patient)
        yield sandboxed


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http2Ehr]:
    """An EHR over HTTP/2, whose certificate is trusted."""
    async with http2_ehr(tmp_path) as serving:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        yield serving
