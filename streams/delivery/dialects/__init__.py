"""EHRs with their own error codes: one file each, named after the kind, with its rules as `DIALECT`. Pure.

A new file is found by its name; no table changes.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from streams.delivery.dialect import ALREADY_THERE, Dialect


def _dialects() -> dict[str, Dialect]:
    names = sorted(module.name for module in iter_modules(__path__))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}").DIALECT for name in names}


DIALECTS: dict[str, Dialect] = _dialects()
"""Kind of endpoint → its dialect."""

ALREADY_THERE_CODES = frozenset(
    code
    for dialect in DIALECTS.values()
    for rule in dialect.code_rules
    if rule.reason == ALREADY_THERE
    for code in rule.codes
)
"""The codes by which an EHR says that the chart holds the result."""
