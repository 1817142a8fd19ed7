"""`vitalwire check` tells what is wrong in any file; it never fails itself, and what it passes can be used."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.linting import check_config, load_config
from mappings.observation.mapper import BUILT_IN_TEMPLATE, ObservationMapper

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "config" / "vitalwire.example.yaml").read_text())
TEMPLATE = yaml.safe_load(BUILT_IN_TEMPLATE)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.sampled_from(["", "60s", "x", "{{ %a }}", "http://b"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["kind", "code", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in entries for place in places(value, (*path, key)))]


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(data)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


@given(st.sampled_from(places(EXAMPLE)), ODD)
@settings(max_examples=60, deadline=None)
def test_a_configuration_with_anything_anywhere_is_linted_without_failing(path: tuple[Any, ...], value: Any) -> None:
    text = yaml.safe_dump(replaced(EXAMPLE, path, value), allow_unicode=True)
    findings = check_config(text, "vitalwire.yaml", lambda _: BUILT_IN_TEMPLATE)
    assert all(finding.line >= 1 and finding.message and finding.remedy for finding in findings)
    if not findings:
        config = load_config(text, "vitalwire.yaml", lambda _: BUILT_IN_TEMPLATE)
        for endpoint in config.endpoints:
            ObservationMapper(config, endpoint)


@given(st.sampled_from(places(TEMPLATE)), ODD)
@settings(max_examples=60, deadline=None)
def test_a_template_with_anything_anywhere_is_linted_without_failing(path: tuple[Any, ...], value: Any) -> None:
    text = yaml.safe_dump(replaced(TEMPLATE, path, value), allow_unicode=True)
    config = 'endpoints: {a: {kind: fhir, base_url: "http://127.0.0.1/fhir", template: t.yaml}}'
    findings = check_config(config, "vitalwire.yaml", {"t.yaml": text}.get)
    assert all(finding.line >= 1 and finding.message and finding.remedy for finding in findings)


@given(st.text(max_size=60))
def test_any_text_is_linted_without_failing(text: str) -> None:
    findings = check_config(text, "vitalwire.yaml", lambda _: None)
    assert all(str(finding).startswith("vitalwire.yaml:") for finding in findings)
    if not findings:
        assert load_config(text, "vitalwire.yaml", lambda _: None)
