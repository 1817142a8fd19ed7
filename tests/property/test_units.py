"""Conversions are exact: against rational arithmetic, and there and back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.units import ALIASES, KNOWN_UNITS, Conversion, conversion, convert_micro, units_for
from schemas.errors import Misconfigured, Rejected
from schemas.reasons import Reason
from schemas.vitals import BUILT_IN

MICRO = st.integers(min_value=-(10**12), max_value=10**12)
ACCEPTED = st.sampled_from(
    [(vital, unit, how) for vital in BUILT_IN for unit, how in units_for(BUILT_IN[vital]).items()]
)


@given(MICRO, ACCEPTED)
def test_a_conversion_is_the_exact_ratio_rounded_once_half_to_even(value_micro: int, accepted) -> None:
    _, _, how = accepted
    exact = Fraction(value_micro + how.shift_micro) * Fraction(how.numerator, how.denominator)
    assert convert_micro(value_micro, how) == round(exact)


@given(MICRO, ACCEPTED)
def test_there_and_back_is_within_one_rounding(value_micro: int, accepted) -> None:
    _, _, how = accepted
    canonical = convert_micro(value_micro, how)
    back = Fraction(canonical) * Fraction(how.denominator, how.numerator) - how.shift_micro
    assert abs(back - value_micro) <= Fraction(how.denominator, how.numerator) / 2


@given(st.text(max_size=12).filter(lambda text: text not in KNOWN_UNITS and text not in ALIASES))
def test_any_text_that_is_not_a_unit_is_refused(unit: str) -> None:
    with pytest.raises(Rejected) as refused:
        conversion(unit, "/min")
    assert refused.value.reason is Reason.UNKNOWN_UNIT


@pytest.mark.parametrize(
    ("vital", "unit", "given_micro", "canonical_micro"),
    [
        ("heart_rate", "bpm", 72_000_000, 72_000_000),
        ("heart_rate", "{beats}/min", 72_000_000, 72_000_000),
        ("heart_rate", "/s", 1_200_000, 72_000_000),
        ("respiratory_rate", "breaths/min", 16_000_000, 16_000_000),
        ("body_temperature", "°F", 98_600_000, 37_000_000),
        ("body_temperature", "F", -40_000_000, -40_000_000),
        ("body_temperature", "C", 36_600_000, 36_600_000),
        ("body_temperature", "K", 310_150_000, 37_000_000),
        ("systolic_bp", "mmHg", 120_000_000, 120_000_000),
        ("systolic_bp", "kPa", 16_000_000, 120_010_201),
        ("glucose", "mmol/l", 5_500_000, 99_085_800),
        ("glucose", "mg/dl", 99_000_000, 99_000_000),
        ("body_weight", "[lb_av]", 150_000_000, 68_038_856),
        ("body_weight", "g", 3_250_000_000, 3_250_000),
        ("spo2", "%", 97_000_000, 97_000_000),
    ],
)
def test_a_device_unit_becomes_the_canonical_one(vital: str, unit: str, given_micro: int, canonical_micro: int) -> None:
    assert convert_micro(given_micro, units_for(BUILT_IN[vital])[unit]) == canonical_micro


@pytest.mark.parametrize(
    ("unit", "canonical", "reason"),
    [
        (None, "/min", Reason.UNKNOWN_UNIT),
        ("", "/min", Reason.UNKNOWN_UNIT),
        ("BPM", "/min", Reason.UNKNOWN_UNIT),
        ("MMHG", "mm[Hg]", Reason.UNKNOWN_UNIT),
        ("furlong", "Cel", Reason.UNKNOWN_UNIT),
        ("mmHg", "/min", Reason.UNIT_MISMATCH),
        ("%", "Cel", Reason.UNIT_MISMATCH),
        ("kg", "mg/dL", Reason.UNIT_MISMATCH),
        ("mmol/L", "mg/dL", Reason.UNIT_MISMATCH),
    ],
)
def test_a_unit_is_never_guessed(unit: str | None, canonical: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        conversion(unit, canonical)
    assert refused.value.reason is reason


def test_only_glucose_converts_between_mass_and_amount() -> None:
    assert conversion("mmol/L", "mg/dL", glucose=True) == Conversion(0, 45_039, 2_500)
    assert "mmol/L" in units_for(BUILT_IN["glucose"])
    assert "kPa" not in units_for(BUILT_IN["glucose"])


def test_a_canonical_unit_that_cannot_hold_its_values_exactly_is_a_configuration_error() -> None:
    with pytest.raises(Misconfigured, match="use Cel"):
        conversion("Cel", "[degF]")
    with pytest.raises(Misconfigured, match="not a supported UCUM unit"):
        conversion("/min", "bpm")


def test_every_unit_of_a_vital_is_documented_as_alias_or_ucum() -> None:
    for vital in BUILT_IN.values():
        accepted = units_for(vital)
        assert accepted[vital.unit] == Conversion(0, 1, 1)
        assert set(accepted) <= KNOWN_UNITS | set(ALIASES)
