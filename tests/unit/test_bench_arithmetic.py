"""The benchmark's own arithmetic: what its table says follows from the runs."""

import pytest

from tests.bench.arithmetic import (
    Run,
    Summary,
    alternating,
    best,
    by_contestant,
    lower_bound,
    percentile,
    ratios,
    summary,
)


def test_a_rate_is_the_amount_over_the_time_it_took() -> None:
    run = Run("ours", 600, seconds=2, cpu_seconds=3)
    assert (run.per_s, run.per_cpu_s) == (300, 200)


def test_one_slow_run_does_not_move_the_median() -> None:
    runs = [Run("ours", 100, seconds, cpu_seconds=1) for seconds in (1, 1, 100)]
    assert summary(runs).per_s == 100


def test_the_spread_is_the_distance_between_runs() -> None:
    runs = [Run("ours", 100, seconds, cpu_seconds=1) for seconds in (1, 2, 0.5)]
    assert summary(runs).spread == pytest.approx((200 - 50) / 100)


def test_contestants_are_summed_up_apart_from_each_other() -> None:
    runs = [Run("ours", 10, 1, 1), Run("theirs", 10, 2, 4), Run("ours", 30, 1, 1), Run("ours", 20, 1, 2)]
    summaries = by_contestant(runs)
    assert list(summaries) == ["ours", "theirs"]
    assert (summaries["ours"].per_s, summaries["ours"].per_cpu_s) == (20, 10)
    assert (summaries["theirs"].per_s, summaries["theirs"].per_cpu_s) == (5, 2.5)


def test_the_best_variant_is_chosen_for_each_number_separately() -> None:
    quick, frugal = Summary(300, 100, 0.1), Summary(200, 150, 0.2)
    assert best([quick, frugal]) == Summary(300, 150, 0.2)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_the_99th_percentile_of_few_values_is_the_largest() -> None:
    assert percentile([3.0, 9.0, 1.0], 99) == 9.0


def test_every_contestant_runs_once_a_round_and_none_always_first() -> None:
    turns = alternating(["a", "b", "c"], 3)
    assert [sorted(c for turn, c in turns if turn == n) for n in range(3)] == [["a", "b", "c"]] * 3
    assert [c for _, c in turns[::3]] == ["a", "b", "c"]


def test_a_ratio_compares_the_runs_of_one_round() -> None:
    runs = [(1, Run("new", 90, 1, 1)), (1, Run("old", 100, 1, 1)), (2, Run("old", 50, 1, 1)), (2, Run("new", 50, 1, 1))]
    assert ratios(runs, "new", "old") == [0.9, 1.0]


def test_a_lower_bound_lies_below_the_median_and_within_what_was_measured() -> None:
    values = [0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.2]
    assert 0.9 < lower_bound(values) < 0.98
    assert lower_bound([0.5] * 9) == 0.5
