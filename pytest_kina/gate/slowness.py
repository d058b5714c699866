"""Whether the machine was slow, rather than the phase that is suspected: the other phases were slow, too.

Shared CI machines are slow for a whole run at times. So a suspect is excused when phases that have no part in it took
longer as well. Its own phase says nothing about that, in whatever series; nor does ``ready``, which is a sum with the
suspect in it. Of the others the lower quartile counts (nearest rank: the least of three), not the middle: a few noisy
phases of some milliseconds must not excuse a doubling.
A regression of everything looks like a slow machine, and cannot be told apart on one: so only slowness of up to 50 %
is an excuse, or else doubling everything would pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_kina.gate.inference import median
from pytest_kina.gate.rules import LEAST_SAMPLES, Rules
from pytest_kina.gate.verdicts import Numbers, Verdict

LEAST_PHASES = 3
"""So many other phases must have been measured: of one or two, chance lifts all too often."""

_LEAST_RATIO = 1.10
_MOST_RATIO = 1.50
_QUARTILE = 0.25
_SUM = "ready"


def slowness(suspect: Verdict, verdicts: Sequence[Verdict], rules: Rules) -> float | None:
    """By how much the machine was slower than usual, to judge by the phases other than the suspect's; None: it was not.

    A phase counts once, with the median of its series' ratios, so that many kinds of clusters are no more evidence
    than one. ``ready`` is excused by the phases that it consists of, and by no others.
    """
    ratios: dict[str, list[float]] = {}
    for one in verdicts:
        if one.phase not in (suspect.phase, _SUM) and (ratio := _ratio(one.numbers, rules)) is not None:
            ratios.setdefault(one.phase, []).append(ratio)
    if len(ratios) < LEAST_PHASES:
        return None
    ordered = sorted(median(found) for found in ratios.values())
    slow = ordered[math.ceil(_QUARTILE * len(ordered)) - 1]
    return slow if _LEAST_RATIO <= slow <= _MOST_RATIO else None


def spared(numbers: Numbers, slow: float) -> Numbers:
    """The figures as they would be on a machine of the usual speed."""
    if numbers.median is None or numbers.ratio is None:
        return numbers
    return replace(numbers, median=numbers.median / slow, ratio=numbers.ratio / slow)


def _ratio(numbers: Numbers, rules: Rules) -> float | None:
    enough = numbers.n >= LEAST_SAMPLES and numbers.baseline_runs >= rules.enforce
    return numbers.ratio if enough else None
