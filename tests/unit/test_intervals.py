"""Intervals: hand-computed values, coverage, and that the coverage check has teeth."""

import math

import numpy as np
import pytest

from aimc_sim.analysis import intervals

Z = 1.959963984540054  # 97.5 % point of the normal law


def wilson_by_hand(correct, n):
    p, q = correct / n, Z * Z / n
    half = Z * math.sqrt(p * (1 - p) / n + q / (4 * n))
    return (p + q / 2 - half) / (1 + q), (p + q / 2 + half) / (1 + q)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (9, 10), (10, 10), (9263, 10_000), (1, 1)])
def test_wilson_is_the_closed_formula(correct, n):
    found = intervals.wilson(correct, n)
    low, high = wilson_by_hand(correct, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert (found.mean, found.n, found.method) == (correct / n, n, "wilson")


@pytest.mark.parametrize(("correct", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(correct, n):
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        intervals.wilson(correct, n)


def test_students_t_of_three_programmings_by_hand():
    found = intervals.mean_interval([0.90, 0.92, 0.94], images=500)
    half = 4.302652729911275 * 0.02 / math.sqrt(3)  # t table: 2 degrees of freedom, 97.5 %
    assert found.mean == pytest.approx(0.92)
    assert (found.low, found.high) == pytest.approx((0.92 - half, 0.92 + half))
    assert (found.n, found.method) == (3, "student-t")


def test_an_interval_stays_within_possible_accuracies():
    found = intervals.mean_interval([1.0, 0.9], images=500)
    assert (found.mean, found.high) == (0.95, 1.0)
    assert intervals.mean_interval([0.0, 0.1], images=500).low == 0.0


def test_one_programming_falls_back_on_wilson_and_says_so():
    assert intervals.mean_interval([0.98], images=500) == intervals.wilson(490, 500)
    assert intervals.mean_interval([0.98], images=500).method == "wilson"


@pytest.mark.parametrize("values", [[], [98.0, 97.0], [float("nan"), 0.5], [-0.1]])
def test_values_that_are_no_accuracies_are_refused(values):
    with pytest.raises(ValueError, match="accurac"):
        intervals.mean_interval(values, images=500)


def test_the_interval_covers_the_truth_95_times_in_100(rng):
    samples = rng.normal(0.9, 0.01, (4000, 3))
    found = [intervals.mean_interval(values, images=500) for values in samples]
    covered = np.mean([interval.low <= 0.9 <= interval.high for interval in found])
    error = math.sqrt(0.95 * 0.05 / len(samples))
    assert abs(covered - 0.95) < 5 * error
    # The normal law in place of Student's t would cover 81 %: the same check rejects it.
    half = Z * samples.std(axis=1, ddof=1) / math.sqrt(3)
    too_narrow = np.mean(np.abs(samples.mean(axis=1) - 0.9) <= half)
    assert abs(too_narrow - 0.95) > 5 * error


def test_one_quantile_serves_all_intervals():
    """Student's t for few values, the normal law where the standard error is known."""
    assert intervals.student(2) == pytest.approx(4.302653, rel=1e-6)
    assert intervals.student(math.inf) == pytest.approx(intervals.NORMAL, rel=1e-12)
    assert intervals.student(4, 0.9) == pytest.approx(2.131847, rel=1e-6)
    shares = [0.90, 0.92, 0.94]
    same, clipped = intervals.of_mean(shares), intervals.mean_interval(shares, images=500)
    assert (same.low, same.high) == (clipped.low, clipped.high)


def test_a_single_number_or_an_infinite_one_has_no_interval():
    for values in ([7.0], [7.0, math.inf]):
        found = intervals.of_mean(values)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
