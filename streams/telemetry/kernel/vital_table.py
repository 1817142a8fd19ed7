"""The configured vitals as columns: windows, limits, and the exact conversion of every accepted unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mappings.units import ALIASES, KNOWN_UNITS, units_for
from schemas.config import Config
from schemas.fixed_point import to_micro
from schemas.reasons import Reason
from schemas.vitals import PANELS
from streams.telemetry.kernel.compiled import I16, I64
from streams.telemetry.kernel.interning import Interner


class VitalColumns(NamedTuple):
    """One element a vital: milliseconds, and plausible range in millionths of the canonical unit."""

    window_ms: I64
    grace_ms: I64
    idle_ms: I64
    longest_open_ms: I64
    low_micro: I64
    high_micro: I64
    sibling: I16  # the other half of a panel (systolic, diastolic); -1 for none


class UnitColumns(NamedTuple):
    """One element a (vital, unit) pair: canonical = (given + shift) x numerator / denominator; `limit` keeps it in 64 bits."""

    vital: I16
    shift_micro: I64
    numerator: I64
    denominator: I64
    limit_micro: I64


class VitalTable:
    """The configured vitals as the kernel uses them, made once from the configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.names = list(config.vitals)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.canonical_units = [config.vital_type(name).unit for name in self.names]
        self.columns = _vital_columns(config, self.index)
        self.pairs = Interner()
        self._codes: dict[tuple[str, str], int] = {}
        self.unit_columns = self._unit_columns()

    def _unit_columns(self) -> UnitColumns:
        rows: list[tuple[int, int, int, int, int]] = []
        for vital, name in enumerate(self.names):
            for unit, c in units_for(self.config.vital_type(name)).items():
                self._codes[name, unit] = self.pairs.code(name, unit)
                limit = (1 << 62) // c.numerator - abs(c.shift_micro)
                rows.append((vital, c.shift_micro, c.numerator, c.denominator, min(limit, 10**15)))
        vitals, *rest = (np.ascontiguousarray(column) for column in np.array(rows, np.int64).T)
        return UnitColumns(vitals.astype(np.int16), *rest)

    def pair(self, vital: str, unit: str | None) -> int | Reason:
        """The (vital, unit) pair's code, or why there is none."""
        if vital not in self.index:
            return Reason.UNKNOWN_TYPE
        code = self._codes.get((vital, unit or ""))
        if code is not None:
            return code
        return Reason.UNIT_MISMATCH if unit in KNOWN_UNITS or unit in ALIASES else Reason.UNKNOWN_UNIT


def _vital_columns(config: Config, index: Mapping[str, int]) -> VitalColumns:
    vitals = config.vitals.values()
    sibling = np.full(len(index), -1, np.int16)
    for first, second in PANELS.values():
        if first in index and second in index:
            sibling[index[first]], sibling[index[second]] = index[second], index[first]
    return VitalColumns(
        np.array([v.window for v in vitals], np.int64),
        np.array([v.grace for v in vitals], np.int64),
        np.array([v.idle for v in vitals], np.int64),
        np.array([v.window + v.grace + v.idle + config.telemetry.max_open for v in vitals], np.int64),
        np.array([to_micro(v.range[0]) for v in vitals], np.int64),
        np.array([to_micro(v.range[1]) for v in vitals], np.int64),
        sibling,
    )
