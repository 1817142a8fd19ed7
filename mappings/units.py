"""Units: from what a device sends to the canonical UCUM unit of a vital, exactly.

Values are integers of a millionth of their unit. Every factor is a ratio of integers, so a conversion is exact until it
is rounded, once, half to even, to a millionth of the canonical unit.
Source of factors: UCUM 2.2 (m[Hg] = 133.322 kPa, m[H2O] = 9.80665 kPa, [lb_av] = 0.45359237 kg, [degF] = 5/9 K from
459.67 below). Glucose, mass to amount: the molar mass of C6H12O6, 180.156 g/mol, so 1 mmol/L is 18.0156 mg/dL (CGM
literature also uses 18 and 18.0182; ours is recorded in docs/mappings.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from schemas.errors import Misconfigured, Rejected
from schemas.fixed_point import MICRO, divide_half_even
from schemas.reasons import Reason
from schemas.vitals import VitalType

GLUCOSE_CODES = frozenset({"99504-3", "105272-9", "2339-0", "15074-8", "41653-7", "97507-8", "105273-7"})
"""LOINC codes whose analyte is glucose: only for these does mg/dL convert to mmol/L."""

_GLUCOSE_MG_DL_PER_MMOL_L = Fraction(180_156, 10_000)


@dataclass(frozen=True, slots=True)
class Conversion:
    """canonical = (given + shift) × numerator / denominator; shift in millionths of the given unit."""

    shift_micro: int
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a unit measures; base = (given + shift) × factor, in the base unit of its dimension."""

    dimension: str
    factor: Fraction
    shift: Fraction = Fraction(0)


def _unit(dimension: str, factor: Fraction | int, shift: Fraction | int = 0) -> _Unit:
    return _Unit(dimension, Fraction(factor), Fraction(shift))


_TABLE: dict[str, _Unit] = {
    "/min": _unit("frequency", 1),
    "{beats}/min": _unit("frequency", 1),
    "{breaths}/min": _unit("frequency", 1),
    "/s": _unit("frequency", 60),
    "Hz": _unit("frequency", 60),
    "/h": _unit("frequency", Fraction(1, 60)),
    "%": _unit("ratio", 1),
    "1": _unit("ratio", 100),
    "Cel": _unit("temperature", 1),
    "K": _unit("temperature", 1, Fraction(-27315, 100)),
    "[degF]": _unit("temperature", Fraction(5, 9), -32),
    "mm[Hg]": _unit("pressure", 1),
    "Pa": _unit("pressure", Fraction(1000, 133_322)),
    "kPa": _unit("pressure", Fraction(1_000_000, 133_322)),
    "cm[H2O]": _unit("pressure", Fraction(980_665, 1_333_220)),
    "mg/dL": _unit("mass concentration", 1),
    "mg/L": _unit("mass concentration", Fraction(1, 10)),
    "g/L": _unit("mass concentration", 100),
    "g/dL": _unit("mass concentration", 1000),
    "mmol/L": _unit("amount concentration", 1),
    "umol/L": _unit("amount concentration", Fraction(1, 1000)),
    "kg": _unit("mass", 1),
    "g": _unit("mass", Fraction(1, 1000)),
    "mg": _unit("mass", Fraction(1, 1_000_000)),
    "[lb_av]": _unit("mass", Fraction(45_359_237, 100_000_000)),
    "[oz_av]": _unit("mass", Fraction(45_359_237, 1_600_000_000)),
    "m": _unit("length", 1),
    "cm": _unit("length", Fraction(1, 100)),
    "mm": _unit("length", Fraction(1, 1000)),
    "[in_i]": _unit("length", Fraction(254, 10_000)),
    "[ft_i]": _unit("length", Fraction(3048, 10_000)),
    "L": _unit("volume", 1),
    "mL": _unit("volume", Fraction(1, 1000)),
    "L/min": _unit("volume flow", 1),
    "mL/min": _unit("volume flow", Fraction(1, 1000)),
    "mL/h": _unit("volume flow", Fraction(1, 60_000)),
    "s": _unit("time", 1),
    "ms": _unit("time", Fraction(1, 1000)),
    "min": _unit("time", 60),
    "h": _unit("time", 3600),
    "d": _unit("time", 86_400),
    "mV": _unit("voltage", 1),
    "V": _unit("voltage", 1000),
    "kg/m2": _unit("mass per area", 1),
    "kcal": _unit("energy", 1),
}

KNOWN_UNITS = frozenset(_TABLE)
"""UCUM codes understood here. One that measures something else than the vital is a mismatch; any other is unknown."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "bpm": "/min",
        "breaths/min": "/min",
        "mmHg": "mm[Hg]",
        "°C": "Cel",
        "°F": "[degF]",
        "C": "Cel",
        "F": "[degF]",
        "mg/dl": "mg/dL",
        "mmol/l": "mmol/L",
    }
)
"""Spellings outside UCUM that devices send. Fixed by the published contract; UCUM itself is case-sensitive.

`bpm` is beats or breaths: to UCUM both are `/min`, and the vital says which.
"""


def convert_micro(value_micro: int, how: Conversion) -> int:
    """The value in millionths of the canonical unit, rounded once, half to even.

    >>> convert_micro(98_600_000, conversion("[degF]", "Cel"))
    37000000
    """
    return divide_half_even((value_micro + how.shift_micro) * how.numerator, how.denominator)


def conversion(unit: str | None, canonical: str, *, glucose: bool = False) -> Conversion:
    """How a value in `unit` becomes one in `canonical`; Rejected when the unit is unknown or measures something else."""
    given = _TABLE.get(ALIASES.get(unit, unit)) if unit else None
    if given is None:
        raise Rejected(Reason.UNKNOWN_UNIT)
    factor = given.factor
    target = _canonical(canonical)
    if given.dimension != target.dimension:
        bridge = _glucose_bridge(given.dimension, target.dimension) if glucose else None
        if bridge is None:
            raise Rejected(Reason.UNIT_MISMATCH)
        factor *= bridge
    return _exact(given, target, factor / target.factor, canonical)


def _canonical(code: str) -> _Unit:
    if code not in _TABLE:
        raise Misconfigured(f"'{code}' is not a supported UCUM unit; use one of {', '.join(sorted(KNOWN_UNITS))}")
    return _TABLE[code]


def is_glucose(vital: VitalType) -> bool:
    """Whether the vital's analyte is glucose, so that mass converts to amount."""
    return any(code.code in GLUCOSE_CODES for code in vital.codes)


def units_for(vital: VitalType) -> dict[str, Conversion]:
    """Every unit a vital accepts, aliases too, with its conversion to the vital's canonical unit."""
    glucose = is_glucose(vital)
    accepted: dict[str, Conversion] = {}
    for unit in (*_TABLE, *ALIASES):
        try:
            accepted[unit] = conversion(unit, vital.unit, glucose=glucose)
        except Rejected:
            continue
    return accepted


def _glucose_bridge(given: str, target: str) -> Fraction | None:
    if (given, target) == ("amount concentration", "mass concentration"):
        return _GLUCOSE_MG_DL_PER_MMOL_L
    if (given, target) == ("mass concentration", "amount concentration"):
        return 1 / _GLUCOSE_MG_DL_PER_MMOL_L
    return None


def _exact(given: _Unit, target: _Unit, factor: Fraction, canonical: str) -> Conversion:
    shift = (given.shift - target.shift / factor) * MICRO
    if shift.denominator != 1:
        # °C → °F needs a shift of 160/9, which no decimal holds; °C is canonical for a reason.
        raise Misconfigured(f"values cannot be kept exactly in '{canonical}'; use Cel as the canonical unit")
    return Conversion(shift.numerator, factor.numerator, factor.denominator)
