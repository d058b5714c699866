"""The run as a file for the textfile collector of Prometheus's node_exporter.

Source: Prometheus "Exposition formats" (text format 0.0.4) and "Metric and label naming": base units, one prefix, no
identifiers of runs, commits or clusters as labels. The bounds of the histograms have the budgets among them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pytest_kina import __version__
from pytest_kina.gate import BUDGETS
from pytest_kina.report.series import PREPARATION, samples

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

PHASE_BOUNDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 300)
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5)
Labels = tuple[tuple[str, str], ...]


def exposition(outcome: Outcome) -> str:
    """The whole file."""
    metrics = outcome.metrics
    releases = [one for one in metrics if one.kind == "cluster" and one.when == "release"]
    requests = ((_about(one.provider), value) for one in releases for value in (*one.requests, *one.probe))
    process: list[tuple[Labels, float]] = [
        ((("worker", one.name),), float(one.usage.get("rss", 0))) for one in metrics if one.kind == "process"
    ]
    clusters = [(_about(one.provider), float(one.usage.get("pss") or one.usage.get("rss", 0))) for one in releases]
    budgets: list[tuple[Labels, float]] = [
        ((("phase", phase), ("provider", provider or "other")), limit)
        for provider, phases in BUDGETS.items()
        for phase, limit in phases.items()
    ]
    parts = [
        _histogram("kina_cluster_phase_duration_seconds", _phases(outcome), PHASE_BOUNDS),
        _counter("kina_cluster_operations_total", outcome),
        _histogram("kina_api_request_duration_seconds", requests, REQUEST_BOUNDS),
        _gauge("kina_plugin_resident_memory_bytes", process),
        _gauge("kina_cluster_memory_bytes", _largest(clusters)),
        _gauge("kina_budget_seconds", budgets),
        _gauge("kina_gate_failed", [((), float(outcome.judgement.failed))]),
        _gauge("kina_last_run_timestamp_seconds", [((), time.time())]),
        _gauge("kina_build_info", [((("version", __version__),), 1.0)]),
    ]
    return "".join(f"{line}\n" for part in parts for line in part)


def _phases(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    for one in samples(outcome.timings.events):
        if one.event.ok and one.event.phase not in PREPARATION:
            yield (("phase", one.phase), *_about(one.event.provider, one.event.kubernetes)), one.seconds


@cache
def _about(provider: str, kubernetes: str | None = None) -> Labels:
    if kubernetes is None:
        return (("provider", provider),)
    return ("provider", provider), ("k8s", ".".join(kubernetes.removeprefix("v").split(".")[:2]))


def _histogram(name: str, values: Iterable[tuple[Labels, float]], bounds: Sequence[float]) -> list[str]:
    groups: dict[Labels, list[float]] = {}
    for labels, value in values:
        groups.setdefault(labels, []).append(value)
    lines = [f"# TYPE {name} histogram"] if groups else []
    for labels, found in groups.items():
        counts = [0] * (len(bounds) + 1)
        for value in found:
            counts[bisect_left(bounds, value)] += 1
        total = 0
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            total += count
            lines.append(f"{name}_bucket{_labelled((*labels, ('le', bound)))} {total}")
        lines += [f"{name}_sum{_labelled(labels)} {sum(found):.9g}", f"{name}_count{_labelled(labels)} {len(found)}"]
    return lines


def _counter(name: str, outcome: Outcome) -> list[str]:
    events = (event for event in outcome.timings.events if event.phase not in PREPARATION)
    counts = Counter((("phase", event.phase.value), ("outcome", "ok" if event.ok else "error")) for event in events)
    lines = [f"{name}{_labelled(labels)} {count}" for labels, count in counts.items()]
    return [f"# TYPE {name} counter", *lines] if lines else []


def _gauge(name: str, values: Sequence[tuple[Labels, float]]) -> list[str]:
    lines = [f"{name}{_labelled(labels)} {value:.15g}" for labels, value in values]
    return [f"# TYPE {name} gauge", *lines] if lines else []


def _largest(values: Iterable[tuple[Labels, float]]) -> list[tuple[Labels, float]]:
    found: dict[Labels, float] = {}
    for labels, value in values:
        found[labels] = max(value, found.get(labels, 0.0))
    return list(found.items())


def _labelled(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
