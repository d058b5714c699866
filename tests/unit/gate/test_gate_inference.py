"""The statistics, against scipy and against brute force."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats

from pytest_kina.gate import inference

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:scipy")


def _samples(chance: random.Random, count: int, around: float = 1.0) -> list[float]:
    return [around * chance.lognormvariate(0, 0.2) for _ in range(count)]


@pytest.mark.parametrize("degrees", range(1, 20))
def test_t_quantiles_are_those_of_scipy(degrees: int) -> None:
    """The table has Student's one-sided 99 % quantiles to three decimals."""
    assert inference.t99(degrees) == pytest.approx(stats.t.ppf(0.99, degrees), abs=6e-4)


@pytest.mark.parametrize("degrees", [0, 20, -1])
def test_t_quantiles_that_are_not_in_the_table_are_refused(degrees: int) -> None:
    """No silent stand-in for a quantile that is not known."""
    with pytest.raises(ValueError, match=str(degrees)):
        inference.t99(degrees)


@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_prediction_limits_are_those_of_a_t_interval_of_logarithms(count: int) -> None:
    """The limits follow from mean and spread of the logarithms as textbooks have it."""
    medians = _samples(random.Random(count), count)
    logs = [math.log(value) for value in medians]
    reach = stats.t.ppf(0.99, count - 1) * statistics.stdev(logs) * math.sqrt(1 + 1 / count)
    lower, upper = inference.prediction_limits(medians, 0.0)
    assert upper == pytest.approx(math.exp(statistics.mean(logs) + reach), rel=2e-4)
    assert lower == pytest.approx(math.exp(statistics.mean(logs) - reach), rel=2e-4)


def test_a_new_run_exceeds_the_limit_in_one_of_a_hundred_cases() -> None:
    """The limit has the error rate that its name says."""
    chance = random.Random(7)
    runs, beyond = 4000, 0
    for _ in range(runs):
        *medians, new = _samples(chance, 11)
        beyond += new > inference.prediction_limits(medians, 0.0)[1]
    assert stats.binomtest(beyond, runs, 0.01).pvalue > 0.001


def test_equal_medians_get_limits_of_the_least_spread() -> None:
    """A window without any variation does not fail the next run for a millisecond."""
    lower, upper = inference.prediction_limits([1.0] * 10, 0.03)
    assert upper == pytest.approx(math.exp(2.821 * 0.03 * math.sqrt(1.1)))
    assert lower == pytest.approx(1 / upper)


def test_limits_of_zero_durations_are_numbers() -> None:
    """A phase that takes no time at all has a limit too."""
    lower, upper = inference.prediction_limits([0.0] * 5, 0.03)
    assert 0 < lower < upper < 1e-5


@pytest.mark.parametrize("sizes", [(3, 3), (5, 5), (5, 8), (10, 10), (20, 7)])
def test_mann_whitney_without_ties_is_scipys_exact_test(sizes: tuple[int, int]) -> None:
    """Exact p values agree with scipy's to the last digits."""
    chance = random.Random(str(sizes))
    for shift in (0.8, 1.0, 1.3):
        base, head = _samples(chance, sizes[0]), _samples(chance, sizes[1], shift)
        expected = stats.mannwhitneyu(head, base, alternative="greater", method="exact").pvalue
        assert inference.mann_whitney(base, head) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sizes", [(8, 8), (12, 9), (60, 70)])
def test_mann_whitney_with_ties_is_scipys_approximation(sizes: tuple[int, int]) -> None:
    """With ties, or many samples, the p values are those of the normal approximation with its corrections."""
    chance = random.Random(str(sizes))
    base, head = ([round(value, 1) for value in _samples(chance, size)] for size in sizes)
    expected = stats.mannwhitneyu(head, base, alternative="greater", method="asymptotic").pvalue
    assert inference.mann_whitney(base, head) == pytest.approx(expected, rel=1e-9)


def test_mann_whitney_of_equal_values_says_nothing() -> None:
    """Samples that are all equal are no evidence."""
    assert inference.mann_whitney([1.0] * 5, [1.0] * 5) == 1.0


@pytest.mark.parametrize(("hits", "tries", "rate"), [(0, 5, 0.1), (2, 5, 0.02), (5, 5, 0.5), (3, 59, 0.05)])
def test_binomial_tails_are_those_of_scipy(hits: int, tries: int, rate: float) -> None:
    """The probability of so many hits or more."""
    assert inference.at_least(hits, tries, rate) == pytest.approx(stats.binom.sf(hits - 1, tries, rate))


@pytest.mark.parametrize("count", [1, 2, 5, 20, 21])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    """Percentiles are interpolated as numpy does by default."""
    import numpy as np

    values = _samples(random.Random(count), count)
    for share in (0.0, 0.05, 0.5, 0.95, 1.0):
        assert inference.percentile(values, share) == pytest.approx(float(np.percentile(values, 100 * share)))


@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_median_and_spread_are_those_of_the_standard_library(count: int) -> None:
    """Our quick versions give what the slow exact ones give."""
    values = _samples(random.Random(count), count)
    assert inference.median(values) == statistics.median(values)
    assert inference.spread(values) == pytest.approx(statistics.stdev(values) if count > 1 else 0.0)
    assert inference.variation(values) == pytest.approx(inference.spread(values) / statistics.mean(values))
    assert inference.variation([0.0, 0.0]) == 0.0


@pytest.mark.parametrize("sizes", [(5, 5), (10, 10), (6, 12)])
def test_the_ratio_interval_is_what_mann_whitney_cannot_refute(sizes: tuple[int, int]) -> None:
    """Ratios inside the interval are compatible with the samples at its level, ratios just outside are not."""
    chance = random.Random(str(sizes))
    base, head = _samples(chance, sizes[0]), _samples(chance, sizes[1], 1.5)
    interval = inference.ratio_interval(base, head)
    assert interval.low <= interval.ratio <= interval.high
    assert interval.level >= 0.95

    def refuted(ratio: float) -> bool:
        scaled = [value / ratio for value in head]
        return stats.mannwhitneyu(scaled, base, method="exact").pvalue <= 0.05

    assert not refuted(interval.low * 1.0001)
    assert not refuted(interval.high * 0.9999)
    assert refuted(interval.low * 0.9999)
    assert refuted(interval.high * 1.0001)


def test_the_ratio_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    """95 of 100 intervals hold the ratio that the samples were drawn with."""
    chance = random.Random(3)
    tries, covered, level = 1500, 0, 0.0
    for _ in range(tries):
        interval = inference.ratio_interval(_samples(chance, 8), _samples(chance, 8, 1.2))
        covered += interval.low <= 1.2 <= interval.high
        level = interval.level
    assert stats.binomtest(covered, tries, level).pvalue > 0.001


def test_too_few_samples_give_the_widest_interval_and_its_true_level() -> None:
    """Three against three cannot have 95 %: the interval says 90 %."""
    interval = inference.ratio_interval([1.0, 1.1, 1.2], [2.0, 2.2, 2.4])
    assert interval.level == pytest.approx(0.9)
    assert (interval.low, interval.high) == (pytest.approx(2.0 / 1.2), pytest.approx(2.4))


def test_many_samples_are_thinned_without_moving_the_ratio() -> None:
    """A thousand samples per side are quick, and tell the same as they all would."""
    chance = random.Random(9)
    base, head = _samples(chance, 1000), _samples(chance, 1000, 1.4)
    interval = inference.ratio_interval(base, head)
    assert interval.low < 1.4 < interval.high
    assert interval.ratio == pytest.approx(1.4, rel=0.05)
