"""Whether a machine was slow, rather than one phase of a cluster: most series moved together.

Shared CI machines are slow for a whole run at times. The ratios of independent series then agree, which a regression
of one phase does not bring about. A regression of everything does, and cannot be told apart on one machine: so only
slowness of up to 50 % is an excuse, or else doubling everything would pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_kina.gate.inference import median
from pytest_kina.gate.rules import LEAST_SAMPLES, Rules
from pytest_kina.gate.verdicts import Numbers

_LEAST_SERIES = 4
_LEAST_RATIO = 1.10
_MOST_RATIO = 1.50
_TOGETHER = 1.15
_SHARE = 0.75


def slowness(figures: Sequence[Numbers], rules: Rules) -> float | None:
    """By how much everything took longer: 10 to 50 %, at least 4 series, 75 % of them within 15 % of their median."""
    ratios = [
        one.ratio
        for one in figures
        if one.ratio is not None and one.n >= LEAST_SAMPLES and one.baseline_runs >= rules.enforce
    ]
    if len(ratios) < _LEAST_SERIES or not _LEAST_RATIO <= (middle := median(ratios)) <= _MOST_RATIO:
        return None
    together = sum(middle / _TOGETHER <= ratio <= middle * _TOGETHER for ratio in ratios)
    return middle if together >= _SHARE * len(ratios) else None


def spared(numbers: Numbers, slow: float) -> Numbers:
    """The figures as they would be on a machine of the usual speed."""
    if numbers.median is None or numbers.ratio is None:
        return numbers
    return replace(numbers, median=numbers.median / slow, ratio=numbers.ratio / slow)
