"""The worked example of docs/mappings.md works as written, and so do the examples in the modules."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from pathlib import Path

import pytest

from mappings.linting import check_config, load_config
from mappings.linting.examples import example_window
from mappings.linting.rules import check_digit
from mappings.observation.mapper import ObservationMapper
from schemas.vitals import BUILT_IN, PANEL_CODES

GUIDE = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"```\w+ {name}\n(.*?)```", GUIDE, re.DOTALL)
    assert found, f"docs/mappings.md has no block called {name}"
    return found[1]


def test_the_worked_example_passes_the_check_and_renders_what_the_guide_shows() -> None:
    config = load_config(block("config"), "vitalwire.yaml", {"templates/research.yaml": block("template")}.get)
    mapper = ObservationMapper(config, "research", block("template"))
    window = example_window(config, "body_temperature").model_copy(update={"median": 36.95})
    assert mapper.render([window], "eAB3") == json.loads(block("observation"))


def test_the_finding_that_the_guide_shows_is_the_finding_that_is_given() -> None:
    broken = block("template").replace('code: "{{ %vital.unit }}"', "code: bpm")
    findings = check_config(block("config"), "vitalwire.yaml", {"templates/research.yaml": broken}.get)
    assert [str(finding) for finding in findings] == [block("finding").strip()]


@pytest.mark.parametrize(
    "module", ["mappings.units", "mappings.linting.rules", "schemas.fixed_point", "schemas.instants"]
)
def test_examples_in_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    "code", [code.code for vital in BUILT_IN.values() for code in vital.codes] + [c.code for c in PANEL_CODES.values()]
)
def test_every_built_in_loinc_code_has_a_valid_check_digit(code: str) -> None:
    digits, _, last = code.partition("-")
    assert check_digit(digits) == int(last)
