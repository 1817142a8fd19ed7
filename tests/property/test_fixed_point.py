"""Fixed-point arithmetic and instants are exact, and the compiled kernel rounds as `schemas.fixed_point` does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from schemas.fixed_point import MICRO, decimal_to_micro, divide_half_even, to_json_number, to_micro
from schemas.instants import (
    epoch_ms,
    epoch_us,
    from_epoch_ms,
    from_epoch_us,
    rfc3339,
    rfc3339_from_ms,
)
from streams.telemetry.kernel.admit import convert

NUMERATORS, DENOMINATORS = st.integers(-(10**15), 10**15), st.integers(1, 10**9)
FIRST_MS, LAST_MS = epoch_ms(datetime(1, 1, 1, tzinfo=UTC)), epoch_ms(datetime(9999, 12, 31, tzinfo=UTC))
ZONES = st.timezones()


@given(NUMERATORS, DENOMINATORS)
def test_a_quotient_is_rounded_half_to_even(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**6), 10**6), st.sampled_from([2, 4, 10]))
def test_the_compiled_kernel_rounds_in_the_same_way(numerator: int, denominator: int) -> None:
    assert convert(numerator, 0, 1, denominator) == divide_half_even(numerator, denominator)


@given(st.integers(-(10**14), 10**14))
def test_millionths_survive_being_written_as_a_json_number(micro: int) -> None:
    number = to_json_number(micro)
    assert to_micro(number) == micro == to_micro(Fraction(str(number)))
    assert isinstance(number, int) == (micro % MICRO == 0)


@given(st.decimals(-(10**12), 10**12, places=9))
def test_a_decimal_is_rounded_as_a_fraction_is(value: Decimal) -> None:
    assert decimal_to_micro(value) == to_micro(Fraction(value))


@given(st.integers(FIRST_MS, LAST_MS))
def test_milliseconds_become_an_instant_and_text_and_come_back(ms: int) -> None:
    assert epoch_ms(from_epoch_ms(ms)) == ms
    assert epoch_ms(datetime.fromisoformat(rfc3339_from_ms(ms))) == ms


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES, allow_imaginary=False))
def test_an_instant_is_the_same_in_every_time_zone(local: datetime) -> None:
    at = local.astimezone(UTC)
    assert from_epoch_us(epoch_us(local)) == at
    assert timedelta(0) <= at - from_epoch_ms(epoch_ms(local)) < timedelta(milliseconds=1)
    assert datetime.fromisoformat(rfc3339(local)) == at.replace(microsecond=at.microsecond // 1000 * 1000)
