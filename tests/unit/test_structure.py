"""Structural rules of the code base: short files and functions, typed mappings, one name for one thing."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "mappings", "streams", "adapters", "testbed", "vitalwire")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "migrations" not in path.parts]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 300
MOST_ANY_IN_MAPPINGS = 46
RETIRED = {
    "insist", "or_end", "ending", "judgement", "Judged", "passing", "Pass", "scan", "wire", "lanes", "Lanes",
    "Asked", "Found", "Written", "EhrAnswer", "charted", "unfaithful", "marked", "Base", "base", "made",
    "tell", "told", "troubles", "fates", "judge", "aside", "mended", "made_anew",
}  # fmt: skip
"""Names that the field's terms replaced, as modules, classes and functions."""


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function from its `def` to its end, its docstring left out."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    spared = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - spared


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in [*FILES, *TESTS]
    }
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_functions_are_short() -> None:
    lengths = [
        lines_of_code(node) for path in FILES for node in definitions(path) if not isinstance(node, ast.ClassDef)
    ]
    assert statistics.median(lengths) <= 6
    assert statistics.quantiles(lengths, n=10)[8] <= 16


def test_mappings_are_typed() -> None:
    uses = sum(
        len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in FILES if "mappings" in path.parts
    )
    assert uses <= MOST_ANY_IN_MAPPINGS


def test_no_module_class_or_function_keeps_a_name_that_a_field_term_replaced() -> None:
    modules = {f"{path.relative_to(ROOT)}": path.stem.removeprefix("test_") for path in [*FILES, *TESTS]}
    kept = [where for where, stem in modules.items() if stem in RETIRED]
    kept += [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in [*FILES, *TESTS]
        for node in definitions(path)
        if node.name in RETIRED or node.name.removeprefix("_") in RETIRED
    ]
    assert kept == []
