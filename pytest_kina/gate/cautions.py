"""What is worth saying about a series without failing the run: tails, failures, creep, and budgets that are near."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_kina.gate.inference import at_least, median, percentile
from pytest_kina.gate.measurements import SeriesSamples
from pytest_kina.gate.rules import CREEP_RATIO, LEAST_SAMPLES, NEAR_BUDGET
from pytest_kina.gate.verdicts import Numbers
from pytest_kina.gate.wording import percent, seconds

_UNLIKELY = 0.01
_TAIL_FACTOR = 1.5
_CREEP_RUNS = 5


def warnings_of(
    series: SeriesSamples,
    baseline: Sequence[SeriesSamples],
    all_runs: Sequence[SeriesSamples],
    numbers: Numbers,
) -> tuple[str, ...]:
    """The warnings in words; ``all_runs`` are the comparable ones since the epoch, beyond the window too."""
    found = (_tail(series, baseline), _failures(series, baseline), _creep(all_runs, numbers), _budget(series, numbers))
    return tuple(warning for warning in found if warning)


def _tail(series: SeriesSamples, baseline: Sequence[SeriesSamples]) -> str:
    """At least 2 samples far beyond the baseline's p95, more than its own samples make likely (p < 1 %)."""
    pooled = [value for one in baseline for value in one.seconds]
    if len(baseline) < _CREEP_RUNS:
        return ""
    far = _TAIL_FACTOR * percentile(pooled, 0.95)
    hits = sum(value > far for value in series.seconds)
    rate = _rate(sum(value > far for value in pooled), len(pooled))
    if hits < 2 or at_least(hits, len(series.seconds), rate) >= _UNLIKELY:
        return ""
    return f"{hits} of {len(series.seconds)} samples are above {seconds(far)}, 1.5 times the baseline's p95"


def _failures(series: SeriesSamples, baseline: Sequence[SeriesSamples]) -> str:
    """More failed attempts than the baseline's make likely; without a baseline every failure counts."""
    failed, tries = series.failures, series.failures + len(series.seconds)
    earlier = sum(one.failures for one in baseline)
    total = earlier + sum(len(one.seconds) for one in baseline)
    if not failed or (baseline and at_least(failed, tries, _rate(earlier, total)) >= _UNLIKELY):
        return ""
    return f"{failed} of {tries} attempts failed (baseline: {earlier} of {total})"


def _creep(all_runs: Sequence[SeriesSamples], numbers: Numbers) -> str:
    """The baseline itself has become slower, in steps too small for any single run to fail."""
    if len(all_runs) < 2 * _CREEP_RUNS or numbers.baseline is None:
        return ""
    first = median([median(one.seconds) for one in all_runs[:_CREEP_RUNS]])
    if numbers.baseline <= CREEP_RATIO * first:
        return ""
    ratio = numbers.baseline / first if first else CREEP_RATIO
    return f"the baseline crept up: {percent(ratio)} since the first {_CREEP_RUNS} runs ({seconds(first)})"


def _budget(series: SeriesSamples, numbers: Numbers) -> str:
    """The budget is near, or single samples exceed it."""
    if numbers.budget is None or numbers.median is None or numbers.n < LEAST_SAMPLES or numbers.median > numbers.budget:
        return ""
    over = sum(value > numbers.budget for value in series.seconds)
    if over:
        return f"{over} of {numbers.n} samples are over the budget of {seconds(numbers.budget)}"
    if numbers.median > NEAR_BUDGET * numbers.budget:
        return f"median {seconds(numbers.median)} is near the budget of {seconds(numbers.budget)}"
    return ""


def _rate(hits: int, tries: int) -> float:
    """A rate that is never 0: one hit and one miss more than were seen (Laplace's rule of succession)."""
    return (hits + 1) / (tries + 2)
