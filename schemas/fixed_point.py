"""Fixed-point arithmetic: a measured value is an integer of millionths of its unit, rounded half to even.

Every room uses these functions. Only the kernel's compiled loops repeat the division, because Numba cannot call Python.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

MICRO = 1_000_000
"""Millionths in one unit."""

_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_MICRO_DECIMAL = Decimal(MICRO)
_ONE = Decimal(1)


def to_micro(value: float | Fraction) -> int:
    """The value in millionths. Exact before rounding for a Fraction; for a float as exact as its product.

    >>> to_micro(36.6), to_micro(Fraction("0.0000005")), to_micro(Fraction("0.0000015"))
    (36600000, 0, 2)
    """
    return round(value * MICRO)


def decimal_to_micro(value: Decimal) -> int:
    """The decimal in millionths. InvalidOperation where the result has more than 100 digits."""
    return int(_EXACT.quantize(_EXACT.multiply(value, _MICRO_DECIMAL), _ONE))


def to_json_number(micro: int) -> int | float:
    """Millionths as a JSON number without float noise: whole numbers whole, others with at most six decimals.

    >>> to_json_number(72_000_000), to_json_number(36_600_000)
    (72, 36.6)
    """
    whole, rest = divmod(micro, MICRO)
    return micro / MICRO if rest else whole


def divide_half_even(numerator: int, denominator: int) -> int:
    """The quotient, rounded half to even. The denominator is positive.

    >>> divide_half_even(5, 2), divide_half_even(7, 2), divide_half_even(-5, 2)
    (2, 4, -2)
    """
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest + quotient % 2 > denominator)
