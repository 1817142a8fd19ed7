"""The compiled templates render what the published FPML engine renders, and data never becomes a template."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import fpml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.template.compiler import InvalidTemplate, compile_template
from mappings.template.nodes import ABSENT
from schemas.errors import Misconfigured

WORDS = st.text("abc xyz-09", max_size=8)
NUMBERS = st.integers(-1000, 1000) | st.integers(-10_000, 10_000).map(lambda n: n / 100)
VALUES = WORDS | NUMBERS | st.booleans() | st.none()
VARIABLES = st.fixed_dictionaries(
    {
        "a": VALUES,
        "b": st.fixed_dictionaries({"c": VALUES, "d": st.lists(WORDS | NUMBERS, max_size=3)}),
        "parts": st.lists(st.fixed_dictionaries({"name": WORDS, "value": NUMBERS | st.none()}), max_size=3),
        "on": st.booleans(),
    }
)
EXPRESSIONS = st.sampled_from(
    [
        "%a",
        "%b.c",
        "%b.d",
        "%b.missing",
        "%parts.name",
        "%parts.where(value > 0).value",
        "%on",
        "%parts.count()",
        "%b.d.first()",
        "'fixed'",
        "1.5 + 1",
    ]
)
CONDITIONS = st.sampled_from(["%on", "%parts.exists()", "%b.d.count() > 1", "%b.missing", "%on = false"])
LEAVES = (
    EXPRESSIONS.map(lambda e: "{{ " + e + " }}")
    | EXPRESSIONS.map(lambda e: "{{+ " + e + " +}}")
    | EXPRESSIONS.map(lambda e: "{[ " + e + " ]}")
    | EXPRESSIONS.map(lambda e: "before {{ " + e + " }} after")
    | WORDS
    | st.integers(0, 9)
    | st.booleans()
)
KEYS = st.sampled_from(["k", "l", "m", "n"])


def blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(KEYS, inner, max_size=3)
    choice = st.builds(
        lambda c, then, other: {"{% if " + c + " %}": then, "{% else %}": other}, CONDITIONS, objects, objects
    )
    loop = st.builds(
        lambda body: {"{% for part in %parts %}": body}, objects.map(lambda o: o | {"p": "{{ %part.name }}"})
    )
    numbered = st.builds(lambda body: {"{% for i, part in %parts %}": body | {"i": "{{ %i }}"}}, objects)
    merge = st.builds(lambda own, more: own | {"{% merge %}": more}, objects, st.lists(objects | choice, max_size=2))
    assign = st.builds(lambda value, own: {"{% assign %}": [{"q": value}], "r": "{{ %q }}"} | own, inner, objects)
    return st.lists(inner, max_size=3) | objects | choice | loop | numbered | merge | assign


TEMPLATES = st.recursive(LEAVES, blocks, max_leaves=8)


def plain(value: Any) -> Any:
    """The published engine leaves Decimals and drops nothing at the top."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


@given(TEMPLATES, VARIABLES)
def test_a_template_renders_what_the_published_engine_renders(template: Any, variables: dict[str, Any]) -> None:
    try:
        published = fpml.resolve_template({}, template, variables, strict=True)
    except fpml.FPMLValidationError:
        with pytest.raises((Misconfigured, InvalidTemplate)):
            compile_template(template).render(variables)
        return
    rendered = compile_template(template).render(variables)
    assert (None if rendered is ABSENT else rendered) == plain(published)


@given(TEMPLATES, VARIABLES, st.sets(st.sampled_from(["a", "b", "parts", "on"])))
def test_folding_known_variables_changes_nothing(template: Any, variables: dict[str, Any], known: set[str]) -> None:
    compiled = compile_template(template)
    try:
        whole = compiled.render(variables)
    except Misconfigured:
        return
    folded = compiled.fold({name: variables[name] for name in known})
    assert folded.free <= compiled.free - known
    rest = {name: value for name, value in variables.items() if name not in known}
    assert folded.render(rest) == whole


@given(st.sampled_from(["{{ %on }}", "{[ %parts ]}", "{% if %on %}", "{{ now() }}", "}}", "{{"]))
def test_data_that_looks_like_a_template_remains_data(name: str) -> None:
    template = compile_template({"one": "{{ %name }}", "all": "{[ %name ]}", "text": "a {{ %name }} b"})
    rendered = template.render({"name": name})
    assert rendered == {"one": name, "all": [name], "text": f"a {name} b"}


def test_two_renderings_share_no_mutable_value() -> None:
    folded = compile_template({"category": [{"code": "{{ %a }}"}], "value": "{{ %b }}"}).fold({"a": "x"})
    first = folded.render({"b": 1})
    first["category"][0]["code"] = "changed"
    assert folded.render({"b": 1})["category"] == [{"code": "x"}]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"a": "{{ %b. }}"}, "not a FHIRPath"),
        ({"a": "{{ now() }}"}, "now"),
        ({"a": "{{ %context.a }}"}, "no resource"),
        ({"a": "{{ %b"}, "braces"),
        ({"{% for x in %a %}": {}, "b": 1}, "only key"),
        ({"{% else %}": {}}, "one `{% if"),
        ({"{% merge %}": [], "{% if %a %}": {}}, "merge"),
        ({"{% assign %}": [{"a": 1, "b": 2}], "c": 1}, "single names"),
        ({"{{ %a }}": {"b": 1}}, "not a block"),
    ],
)
def test_a_meaningless_template_is_refused_at_start(template: Any, words: str) -> None:
    with pytest.raises(InvalidTemplate, match=words):
        compile_template(template)


def test_the_error_of_a_failing_expression_has_its_path_and_never_the_data() -> None:
    template = compile_template({"a": [{"b": "{{ %name + 1 }}"}]})
    with pytest.raises(Misconfigured, match=r"a\.0\.b") as failed:
        template.render({"name": "Jane Doe"})
    assert "Jane" not in str(failed.value)
    assert failed.value.__suppress_context__
