"""Windows and the Observations they must become, as pairs of files: one folder a case, reviewed by eye against US Core."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mappings.observation.mapper import ObservationMapper
from mappings.observation.structure import structure
from mappings.observation.us_core import validate
from schemas.config import Config
from schemas.window import Window

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/window.json"))
SUBJECT = "eAB3mDIBBcyUKviyzrxsnAw3"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_window_becomes_the_observation_on_file(case: Path) -> None:
    config = Config.model_validate(yaml.safe_load((case / "config.yaml").read_text()))
    windows = [Window.model_validate(given) for given in json.loads((case / "window.json").read_text())]
    status = "amended" if windows[0].revision else "final"

    rendered = ObservationMapper(config, "site").render(windows, SUBJECT, status)

    assert rendered == json.loads((case / "observation.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_golden_observation_is_valid_fhir_and_us_core(case: Path) -> None:
    config = Config.model_validate(yaml.safe_load((case / "config.yaml").read_text()))
    resource = json.loads((case / "observation.json").read_text())

    assert structure(resource) == []
    assert validate(resource, config.endpoints["site"].matrix.observation) == []


def test_every_kind_of_endpoint_has_every_vital() -> None:
    vitals = {
        "heart_rate",
        "respiratory_rate",
        "spo2",
        "body_temperature",
        "glucose",
        "body_weight",
        "blood_pressure",
        "blood_pressure-without-diastolic",
    }
    names = {case.name for case in CASES}
    assert {f"{kind}-{vital}" for kind in ("fhir", "epic", "oracle-health") for vital in vitals} <= names
