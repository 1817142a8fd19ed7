"""The arithmetic of a benchmark: rates of one run, medians over runs, ratios between contestants, percentiles."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's run: how much it did, in how much time, with how much CPU time of its own process."""

    contestant: str
    amount: int
    seconds: float
    cpu_seconds: float

    @property
    def per_s(self) -> float:
        """Amount a second."""
        return self.amount / self.seconds

    @property
    def per_cpu_s(self) -> float:
        """Amount a second of CPU time, user and system, all threads."""
        return self.amount / self.cpu_seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of a contestant's runs."""

    per_s: float
    per_cpu_s: float
    spread: float
    """(highest - lowest) / median of `per_s`: how much the machine let the numbers wander."""


def summary(runs: Sequence[Run]) -> Summary:
    """Medians of runs of one contestant."""
    rates = [run.per_s for run in runs]
    middle = median(rates)
    return Summary(middle, median(run.per_cpu_s for run in runs), (max(rates) - min(rates)) / middle)


def by_contestant(runs: Iterable[Run]) -> dict[str, Summary]:
    """Contestant → medians, in order of first appearance."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.contestant, []).append(run)
    return {contestant: summary(own) for contestant, own in grouped.items()}


def best(summaries: Iterable[Summary]) -> Summary:
    """The best of several variants of one contestant, each number by itself: what is hardest to beat."""
    variants = list(summaries)
    return Summary(max(v.per_s for v in variants), max(v.per_cpu_s for v in variants), max(v.spread for v in variants))


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least `percent` of all values do not exceed."""
    ranked = sorted(values)
    return ranked[max(math.ceil(percent / 100 * len(ranked)), 1) - 1]


def ratios(runs: Iterable[tuple[int, Run]], ours: str, theirs: str) -> list[float]:
    """Readings a CPU second of one contestant over another's, round by round: what troubled a round troubled both."""
    rounds: dict[int, dict[str, float]] = {}
    for turn, run in runs:
        rounds.setdefault(turn, {})[run.contestant] = run.per_cpu_s
    return [rates[ours] / rates[theirs] for _, rates in sorted(rounds.items())]


def lower_bound(values: Sequence[float], percent: float = 95, resamples: int = 20_000) -> float:
    """The lower confidence bound of the median, by a percentile bootstrap; the same for the same values."""
    draw = random.Random(len(values))
    medians = [median(draw.choices(values, k=len(values))) for _ in range(resamples)]
    return percentile(medians, 100 - percent)


def alternating(contestants: Sequence[str], rounds: int) -> list[tuple[int, str]]:
    """(round, contestant), every contestant once a round, each round begun by another one."""
    n = len(contestants)
    return [(turn, contestants[(turn + place) % n]) for turn in range(rounds) for place in range(n)]
