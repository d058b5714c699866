"""Budgets for what is not a phase: latency of API requests, and memory of the plugin's processes.

A percentile of few requests says little, so "p95 below the limit" is judged by counting: among requests of which 5 %
are slow in truth, more than the 95 % quantile of Binomial(n, 0.05) are slow in one run of twenty. With fewer than 59
requests even a sample without any slow one does not show that 95 % are fast (0.95^59 < 0.05).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_kina.metrics.samples import RELEASE, Metric

API_LIMIT = 0.5
"""Seconds that 95 % of the requests must not exceed."""
LEAST_REQUESTS = 59
GROWTH_LIMIT = 50 * 1024 * 1024
"""Bytes by which a process's memory may grow from loading the plugin to its end."""
_SLOW_SHARE = 0.05
_CONFIDENCE = 0.95
_ROUNDING = 1e-9  # of the sum of chances


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One budget: what was judged, the figure and its limit in ``unit``, and why. ``over`` is None for too little data.

    ``n`` is the number of samples. ``grave``: it fails a run in mode ``fail``.
    """

    name: str
    provider: str
    value: float | None
    limit: float
    unit: str
    n: int
    over: bool | None
    grave: bool
    reason: str


def findings(metrics: Sequence[Metric]) -> list[Finding]:
    """What the budgets say about a run: the API of each provider's clusters, then each process."""
    return [*_api(metrics), *_growth(metrics)]


def slow_allowed(count: int) -> int:
    """The 95 % quantile of Binomial(``count``, 0.05): so many of ``count`` requests may be slow."""
    # As logarithms: the chance of no slow request is 0 as a float from some 15 000 requests on.
    slow, cumulated, chance = 0, 0.0, count * math.log(1 - _SLOW_SHARE)
    while (cumulated := cumulated + math.exp(chance)) < _CONFIDENCE - _ROUNDING:
        chance += math.log((count - slow) / (slow + 1) * _SLOW_SHARE / (1 - _SLOW_SHARE))
        slow += 1
    return slow


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _api(metrics: Iterable[Metric]) -> list[Finding]:
    clusters = [one for one in metrics if one.kind == "cluster" and one.when == RELEASE]
    providers = dict.fromkeys(one.provider for one in clusters)
    seconds = {
        name: [value for one in clusters if one.provider == name for value in (*one.requests, *one.probe)]
        for name in providers
    }
    return [_judged(name, values) for name, values in seconds.items() if values]


def _judged(provider: str, seconds: Sequence[float]) -> Finding:
    n, slow = len(seconds), sum(value > API_LIMIT for value in seconds)
    allowed = slow_allowed(n)
    over = None if n < LEAST_REQUESTS else slow > allowed
    reason = f"{slow} of {n} requests took longer than {API_LIMIT * 1000:.0f} ms, {allowed} may by chance"
    if over is None:
        reason = f"{n} requests, at least {LEAST_REQUESTS} are needed to judge p95 (--kina-probe-requests adds some)"
    return Finding(
        name="api_p95",
        provider=provider,
        value=percentile(seconds, 0.95),
        limit=API_LIMIT,
        unit="s",
        n=n,
        over=over,
        grave=True,
        reason=reason,
    )


def _growth(metrics: Iterable[Metric]) -> list[Finding]:
    mebibyte = 1024 * 1024
    return [
        Finding(
            name=f"memory of {one.name}",
            provider="",
            value=float(one.growth),
            limit=GROWTH_LIMIT,
            unit="B",
            n=1,
            over=one.growth > GROWTH_LIMIT,
            grave=False,  # the tests' own memory is in it
            reason=f"grew by {one.growth / mebibyte:.0f} MiB since the plugin was loaded, with the tests' own memory",
        )
        for one in metrics
        if one.kind == "process" and one.growth
    ]
