"""The statistics are those of pytest-benchmark, whose code is the oracle here."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from pytest_kina.report.stats import describe, quartiles


def _theirs(seconds: list[float]) -> dict[str, object]:
    stats = Stats()
    for value in seconds:
        stats.update(value)
    return {**stats.as_dict(), "data": stats.data, "iterations": 1}


@given(st.lists(st.floats(min_value=0, max_value=1e6, allow_subnormal=False), min_size=1, max_size=80))
@example([0.0])
@example([1.0, 1.0, 1.0, 1.0, 100.0])
@example([0.1] * 7)
def test_every_field_equals_pytest_benchmarks(seconds: list[float]) -> None:
    """All eighteen fields agree to the last bit, in the same order."""
    ours = describe(seconds)
    assert ours == _theirs(seconds)
    assert list(ours) == list(_theirs(seconds))


@pytest.mark.parametrize("number", range(1, 61))
def test_the_fields_agree_for_every_number_of_samples(number: int) -> None:
    """Skewed samples like those of a start-up, with outliers, at each remainder of the quartile rule."""
    source = random.Random(number)
    for _ in range(10):
        seconds = [source.lognormvariate(0, 0.5) * (5 if source.random() < 0.1 else 1) for _ in range(number)]
        assert describe(seconds) == _theirs(seconds)


def test_the_order_of_the_samples_is_kept_in_data() -> None:
    """Raw samples stay in the order of measuring, so that a drift within the run can be seen."""
    assert describe([3.0, 1.0, 2.0])["data"] == [3.0, 1.0, 2.0]


def test_the_quartile_rule_is_not_that_of_the_standard_library() -> None:
    """Five samples: a blend of neighbours, by method 3."""
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (1.75, 4.25)


def test_no_samples_are_no_statistics() -> None:
    """An empty series is a mistake of the caller, not a row of zeros."""
    with pytest.raises(ValueError, match="mean requires at least one data point"):
        describe([])
