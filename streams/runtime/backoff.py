"""Exponential backoff with a limit and jitter; the random number is a parameter. Pure."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 300.0


def backoff_s(attempt: int, spread: float) -> float:
    """Seconds before attempt `attempt` + 1: between half and the whole of 0.5, 1, 2, 4 … 300 s. `spread` is in [0, 1)."""
    whole = min(FIRST_S * 2.0 ** min(max(attempt - 1, 0), 16), LONGEST_S)
    return whole * (0.5 + spread / 2)
