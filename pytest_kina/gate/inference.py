"""The statistics behind the verdicts, in plain Python; tests compare them with scipy.

Sources: one-sided prediction limit, Hahn & Meeker, *Statistical Intervals*, 4.7; exact Mann-Whitney distribution,
Mann & Whitney 1947 (recurrence over group sizes); interval of the ratio, Hodges & Lehmann 1963 on logarithms.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

TINY = 1e-6
"""Seconds below which a duration counts as this long: logarithms need something above zero."""

_EXACT = 50
_T99: tuple[float, ...] = (31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764)
_T99 += (2.718, 2.681, 2.650, 2.624, 2.602, 2.583, 2.567, 2.552, 2.539)


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio with its confidence interval, and the level that it really has (small samples allow few levels)."""

    ratio: float
    low: float
    high: float
    level: float


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones. ``values`` must not be empty."""
    ordered = sorted(values)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def variation(values: Sequence[float]) -> float:
    """Standard deviation as a share of the mean; 0 when the mean is."""
    mean = math.fsum(values) / len(values)
    return spread(values) / mean if mean else 0.0


def t99(degrees: int) -> float:
    """Student's t that 99 % stay below, for 1 to 19 degrees of freedom. Raises :class:`ValueError` for others."""
    if not 1 <= degrees <= len(_T99):
        raise ValueError(f"no 99 % quantile for {degrees} degrees of freedom")
    return _T99[degrees - 1]


def prediction_limits(medians: Sequence[float], least_spread: float) -> tuple[float, float]:
    """Below and above which one further run's median falls in 1 % of cases each, if it is like ``medians`` (2 to 20).

    Log-t limits; ``least_spread`` is the least standard deviation of the logarithms that is believed.
    """
    logs = [math.log(max(value, TINY)) for value in medians]
    count = len(logs)
    mean = math.fsum(logs) / count
    reach = t99(count - 1) * max(spread(logs), least_spread) * math.sqrt(1 + 1 / count)
    return math.exp(mean - reach), math.exp(mean + reach)


def at_least(hits: int, tries: int, rate: float) -> float:
    """The probability of ``hits`` or more in so many independent tries that hit with probability ``rate``."""
    return math.fsum(math.comb(tries, k) * rate**k * (1 - rate) ** (tries - k) for k in range(hits, tries + 1))


def percentile(values: Sequence[float], share: float) -> float:
    """The value at ``share`` (0 to 1) of the sorted samples, interpolated like numpy's default."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def mann_whitney(base: Sequence[float], head: Sequence[float]) -> float:
    """One-sided p value for "``head`` is larger": exact without ties, normal approximation with ties or n > 50."""
    ordered = sorted(base)
    larger = math.fsum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in head) / 2
    pooled = [*base, *head]
    if len(set(pooled)) == len(pooled) and max(len(base), len(head)) <= _EXACT:
        ways = _ways(len(base), len(head))
        return sum(ways[int(larger) :]) / sum(ways)
    return _approximate(larger, pooled, len(base), len(head))


def ratio_interval(base: Sequence[float], head: Sequence[float], level: float = 0.95) -> Interval:
    """How many times longer ``head`` takes than ``base``: median of all ratios, and an interval of at least ``level``.

    Where the samples are too few for the level the interval is the widest there is, and ``level`` says what it has.
    Of more than 50 samples 50 evenly spaced ones count, which makes the interval wider than it need be, never narrower.
    """
    base, head = _thinned(base), _thinned(head)
    ratios = sorted(max(h, TINY) / max(b, TINY) for h in head for b in base)
    ways = _ways(len(base), len(head))
    total, outside, cut = sum(ways), 0, 0
    while 2 * (outside + ways[cut]) / total <= 1 - level:
        outside += ways[cut]
        cut += 1
    edge = max(cut - 1, 0)
    reached = 1 - 2 * (outside if cut else ways[0]) / total
    return Interval(median(ratios), ratios[edge], ratios[-1 - edge], reached)


def _thinned(values: Sequence[float]) -> Sequence[float]:
    if len(values) <= _EXACT:
        return values
    ordered = sorted(values)
    return [ordered[(2 * rank + 1) * len(ordered) // (2 * _EXACT)] for rank in range(_EXACT)]


@cache
def _ways(first: int, second: int) -> tuple[int, ...]:
    """In how many orders of two groups each value of U occurs: the Gaussian binomial coefficients."""
    counts = [1] + [0] * (first * second)
    for step in range(1, first + 1):
        for u in range(len(counts) - 1, second + step - 1, -1):
            counts[u] -= counts[u - second - step]
        for u in range(step, len(counts)):
            counts[u] += counts[u - step]
    return tuple(counts)


def _approximate(larger: float, pooled: Sequence[float], first: int, second: int) -> float:
    total = first + second
    ties = math.fsum(count**3 - count for count in Counter(pooled).values())
    variance = first * second / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = (larger - first * second / 2 - 0.5) / math.sqrt(variance)
    return 0.5 * math.erfc(z / math.sqrt(2))
