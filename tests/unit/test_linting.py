"""`vitalwire check` on deliberately broken configurations and templates: each is found, at its line, with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mappings.linting import InvalidConfiguration, check_config, load_config
from mappings.observation.mapper import BUILT_IN_TEMPLATE
from schemas.capabilities import Capabilities

BROKEN = sorted(path for path in (Path(__file__).parents[1] / "data" / "broken").iterdir() if path.is_dir())
EXAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "vitalwire.example.yaml"


def files_next_to(config: Path) -> Callable[[str], str | None]:
    def read_file(name: str) -> str | None:
        path = config.parent / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    return read_file


def line_marked_wrong(folder: Path) -> tuple[str, int]:
    for file in ("template.yaml", "vitalwire.yaml"):
        path = folder / file
        for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
            if line.endswith("# WRONG"):
                return file, number
    raise AssertionError(f"{folder.name} has no line that ends in # WRONG")


@pytest.mark.parametrize("folder", BROKEN, ids=lambda folder: folder.name)
def test_a_mistake_is_found_at_its_line_with_a_remedy(folder: Path) -> None:
    expected = yaml.safe_load((folder / "expected.yaml").read_text())
    config = folder / "vitalwire.yaml"

    findings = check_config(config.read_text(), config.name, files_next_to(config))

    there = [finding for finding in findings if (finding.file, finding.line) == line_marked_wrong(folder)]
    assert any(expected["message"] in found.message and expected["remedy"] in found.remedy for found in there), findings
    assert {finding.file for finding in findings} == {line_marked_wrong(folder)[0]}


def test_at_least_twenty_broken_files_are_tried() -> None:
    assert len(BROKEN) >= 20


def test_the_example_configuration_has_no_findings() -> None:
    assert check_config(EXAMPLE.read_text(), EXAMPLE.name, files_next_to(EXAMPLE)) == []


def test_the_built_in_template_passes_its_own_check_at_every_kind_of_endpoint() -> None:
    text = """
endpoints:
  plain: {kind: fhir, base_url: "http://127.0.0.1/fhir", template: built-in.yaml}
  epic: {kind: epic, base_url: "http://127.0.0.1/fhir", template: built-in.yaml}
  oracle: {kind: oracle-health, base_url: "http://127.0.0.1/r4", template: built-in.yaml,
           capabilities: {performer: Practitioner/1}}
"""
    assert check_config(text, "vitalwire.yaml", lambda _: BUILT_IN_TEMPLATE) == []


def test_a_valid_configuration_is_loaded() -> None:
    config = load_config(EXAMPLE.read_text(), EXAMPLE.name, files_next_to(EXAMPLE))
    assert config.endpoints["north-epic"].matrix.observation.codings == "one"


def test_loading_a_broken_configuration_names_every_finding_at_once() -> None:
    text = "tenants:\n  north: {endpoints: [nowhere]}\nvitals:\n  spo2: {range: [100, 0]}\n"
    with pytest.raises(InvalidConfiguration) as refused:
        load_config(text, "vitalwire.yaml", lambda _: None)
    assert [finding.line for finding in refused.value.findings] == [2, 4]
    assert "vitalwire.yaml:2" in str(refused.value)


def test_a_secret_in_the_file_is_never_repeated_in_a_finding() -> None:
    config = next(folder for folder in BROKEN if folder.name == "secret-inline") / "vitalwire.yaml"
    reported = "\n".join(
        str(finding) for finding in check_config(config.read_text(), config.name, files_next_to(config))
    )
    assert "swordfish" not in reported


@pytest.mark.parametrize("text", ["[]", "just words", "3", "endpoints: [a]", "vitals: {spo2: 3}", "tenants: {a: {}}"])
def test_a_file_of_another_form_gives_findings_and_no_crash(text: str) -> None:
    assert check_config(text, "vitalwire.yaml", lambda _: None)


@pytest.mark.parametrize("resource_type", Capabilities.resource_models())
def test_a_misspelled_capability_of_each_resource_type_gets_the_similar_key(resource_type: str) -> None:
    text = f"""
endpoints:
  plain: {{kind: fhir, base_url: "http://127.0.0.1/fhir", capabilities: {{{resource_type}: {{creat: true}}}}}}
"""
    [finding] = check_config(text, "vitalwire.yaml", lambda _: None)
    assert (finding.message, finding.remedy) == ("unknown key 'creat'", "did you mean 'create'?")
