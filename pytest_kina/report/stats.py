"""The statistics of pytest-benchmark 5.3.1, computed without it.

Sources: ``pytest_benchmark/stats.py`` of that version. Its quartiles follow methods 2 and 3 of
https://en.wikipedia.org/wiki/Quartile#Computing_methods, and are neither those of ``statistics.quantiles`` nor of
numpy; its ``ld15iqr`` and ``hd15iqr`` are the outermost samples within the Tukey fences.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

_FENCE = 1.5


def describe(seconds: Sequence[float]) -> dict[str, Any]:
    """Every field of a benchmark's ``stats`` object, in pytest-benchmark's order. ``seconds`` must not be empty."""
    import statistics  # 5 ms that only those who ask for figures pay

    ordered = sorted(seconds)
    mean = statistics.mean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else 0
    q1, q3 = quartiles(ordered)
    low, high = q1 - _FENCE * (q3 - q1), q3 + _FENCE * (q3 - q1)
    beyond_spread = _outside(seconds, mean - spread, mean + spread)
    beyond_fence = _outside(seconds, low, high)
    total = sum(seconds)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": spread,
        "rounds": len(seconds),
        "median": statistics.median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_fence,
        "stddev_outliers": beyond_spread,
        "outliers": f"{beyond_spread};{beyond_fence}",
        "ld15iqr": ordered[bisect_left(ordered, low)],
        "hd15iqr": ordered[bisect_right(ordered, high) - 1],
        "ops": len(seconds) / total if total else 0,
        "total": total,
        "data": list(seconds),
        "iterations": 1,
    }


def quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """First and third quartile of sorted samples: medians of the halves, or a blend when their number is odd."""
    from statistics import median

    n, rest = divmod(len(ordered), 4)
    if len(ordered) == 1:
        return ordered[0], ordered[0]
    if rest == 1:
        return (
            0.25 * ordered[n - 1] + 0.75 * ordered[n],
            0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1],
        )
    if rest == 3:
        return (
            0.75 * ordered[n] + 0.25 * ordered[n + 1],
            0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2],
        )
    half = len(ordered) // 2
    return median(ordered[:half]), median(ordered[half:])


def _outside(seconds: Sequence[float], low: float, high: float) -> int:
    return sum(1 for value in seconds if value < low or value > high)
