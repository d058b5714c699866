"""Budgets for requests and memory, with the error rates that counting promises."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from pytest_kina.metrics.budgets import API_LIMIT, GROWTH_LIMIT, LEAST_REQUESTS, findings, percentile, slow_allowed
from pytest_kina.metrics.samples import Metric


def _cluster(*seconds: float, provider: str = "embedded", when: str = "release") -> Metric:
    return Metric(kind="cluster", name="c", when=when, worker="main", provider=provider, requests=seconds)


def test_59_is_the_least_number_that_can_show_anything() -> None:
    """Fewer requests without a single slow one are likely enough even where more than 5 % are slow."""
    assert 0.95**LEAST_REQUESTS < 0.05 <= 0.95 ** (LEAST_REQUESTS - 1)


@pytest.mark.parametrize("n", [1, 20, 59, 100, 500, 2000])
def test_allowed_slow_requests_are_the_binomial_quantile(n: int) -> None:
    """The smallest count that at least 95 % of runs with 5 % slow requests do not exceed, computed from the definition."""
    chances = [math.comb(n, k) * 0.05**k * 0.95 ** (n - k) for k in range(min(n, 200) + 1)]
    expected = next(k for k, total in enumerate(itertools.accumulate(chances)) if total >= 0.95)
    assert slow_allowed(n) == expected


@pytest.mark.parametrize("n", [14_000, 16_000, 200_000])
def test_long_runs_are_judged_as_well(n: int) -> None:
    """However many requests there were: then the quantile is that of a normal distribution, but for a request or two."""
    expected = 0.05 * n + 1.6449 * math.sqrt(n * 0.05 * 0.95)
    assert slow_allowed(n) == pytest.approx(expected, abs=2)


def test_at_the_limit_one_run_of_twenty_is_accused_at_most() -> None:
    """False alarms of the rule itself, in simulated runs of which exactly 5 % of requests are slow."""
    chance = random.Random(7)
    runs = [[API_LIMIT * (2 if chance.random() < 0.05 else 0.5) for _ in range(100)] for _ in range(2000)]
    accused = sum(bool(findings([_cluster(*run)])[0].over) for run in runs)
    assert accused / len(runs) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(runs))


def test_too_few_requests_are_not_judged() -> None:
    """However slow they are."""
    (few,) = findings([_cluster(*[9.0] * (LEAST_REQUESTS - 1))])
    assert few.over is None
    assert "58 requests, at least 59" in few.reason
    (enough,) = findings([_cluster(*[9.0] * LEAST_REQUESTS)])
    assert enough.over is True
    assert enough.grave


def test_requests_are_counted_per_provider_over_all_leases() -> None:
    """Two leases of 30 are 60; what was measured at the beginning of a lease does not count."""
    found = findings(
        [_cluster(*[0.1] * 30), _cluster(*[0.1] * 30), _cluster(0.1, provider="kind"), _cluster(9.0, when="ready")]
    )
    assert [(one.provider, one.n, one.over) for one in found] == [("embedded", 60, False), ("kind", 1, None)]


@pytest.mark.parametrize(("growth", "over"), [(GROWTH_LIMIT, False), (GROWTH_LIMIT + 1, True)])
def test_a_process_that_grew_too_much_is_a_warning(growth: int, over: bool) -> None:
    """Never grave: the tests' own memory is in the figure."""
    (found,) = findings([Metric(kind="process", name="gw0", when="end", worker="gw0", growth=growth)])
    assert (found.over, found.grave) == (over, False)


def test_percentiles_are_samples() -> None:
    """The nearest rank, never something between two samples."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([], 0.5) is None
