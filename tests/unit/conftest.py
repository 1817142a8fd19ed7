"""Roles and watches over doubles, ready for what a test gives them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.clinical_role import ClinicalHarness
from tests.doubles.correction_watch import CorrectionHarness
from tests.doubles.telemetry_role import TelemetryHarness


@pytest.fixture
def clinical(tmp_path: Path) -> Iterator[ClinicalHarness]:
    harness = ClinicalHarness(tmp_path)
    yield harness
    harness.ledger.close()


@pytest.fixture
async def telemetry() -> TelemetryHarness:
    harness = TelemetryHarness()
    await harness.role.assigned([0])
    return harness


@pytest.fixture
async def corrections() -> CorrectionHarness:
    harness = CorrectionHarness()
    await harness.watch.look()
    return harness
