"""What clusters and plugin processes took up, and how quickly the API servers answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kina.gate.wording import seconds
from pytest_kina.html.svg import drawing, escaped, rectangle, table, text
from pytest_kina.metrics.budgets import percentile
from pytest_kina.metrics.samples import Metric

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

_MOST_ROWS = 60
_WIDTH, _LEFT, _ROW = 1040, 300, 22
_MIB = 1024 * 1024


def resources(outcome: Outcome) -> str:
    """Pictures and tables; without measurements nothing."""
    clusters = [one for one in outcome.metrics if one.kind == "cluster"][:_MOST_ROWS]
    processes = [one for one in outcome.metrics if one.kind == "process"][:_MOST_ROWS]
    findings = "".join(
        f"<li>{escaped(f'{one.name} {one.provider}'.strip())}: {escaped(one.reason)}</li>" for one in outcome.findings
    )
    parts = [_memory([*clusters, *processes]), _clusters(clusters), _requests(clusters), _processes(processes)]
    return "".join(parts) + (f"<ul>{findings}</ul>" if findings else "")


def _memory(metrics: Sequence[Metric]) -> str:
    bars = [(_label(one), _bytes(one), one.kind) for one in metrics if _bytes(one)]
    if not bars:
        return ""
    scale = (_WIDTH - _LEFT - 90) / max(value for _, value, _ in bars)
    parts = []
    for row, (label, value, kind) in enumerate(bars):
        y = row * _ROW
        css = "p-create" if kind == "cluster" else "p-kubectl_ready"
        parts += [
            text(4, y + 15, label[:44], "soft"),
            rectangle(_LEFT, y + 4, value * scale, _ROW - 8, css, f"{value / _MIB:.0f} MiB"),
            text(_LEFT + value * scale + 6, y + 15, f"{value / _MIB:.0f} MiB"),
        ]
    return "<h3>Memory (PSS where the system tells it, else RSS)</h3>" + drawing(
        _WIDTH, len(bars) * _ROW + 4, "memory", parts
    )


def _clusters(metrics: Sequence[Metric]) -> str:
    rows = [
        [
            f"<code>{escaped(one.name)}</code>",
            escaped(one.when),
            str(one.usage.get("processes", 0)),
            _mebibytes(one.usage.get("pss")),
            _mebibytes(one.usage.get("rss")),
            f"{one.usage.get('cpu_seconds', 0.0):.1f} s",
            _mebibytes(one.disk),
            escaped(", ".join(f"{count} {name}" for name, count in one.objects.items())),
        ]
        for one in metrics
    ]
    return table(("cluster", "when", "processes", "PSS", "RSS", "CPU", "disk", "objects"), rows, left=2) if rows else ""


def _requests(metrics: Sequence[Metric]) -> str:
    sources = [(one.name, kind, getattr(one, kind)) for one in metrics for kind in ("requests", "probe")]
    rows = [
        [f"<code>{escaped(name)}</code>", "the tests" if kind == "requests" else "probe", str(len(values))]
        + [_percentile(values, share, least) for share, least in ((0.5, 1), (0.95, 20), (0.99, 100))]
        for name, kind, values in sources
        if values
    ]
    if not rows:
        return ""
    return "<h3>API requests</h3>" + table(("cluster", "asked by", "n", "p50", "p95", "p99"), rows, left=2)


def _processes(metrics: Sequence[Metric]) -> str:
    rows = [
        [
            escaped(one.name),
            _mebibytes(one.usage.get("rss")),
            _mebibytes(one.growth),
            f"{one.usage.get('cpu_seconds', 0.0):.1f} s",
            f"{one.seconds:.1f} s",
        ]
        for one in metrics
    ]
    if not rows:
        return ""
    return "<h3>Processes of the run</h3>" + table(("process", "RSS", "growth", "CPU", "lifetime"), rows)


def _percentile(values: Sequence[float], share: float, least: int) -> str:
    """The percentile, or nothing where there are too few values for it to mean something."""
    value = percentile(values, share)
    return "" if value is None or len(values) < least else seconds(value)


def _label(metric: Metric) -> str:
    return f"{metric.worker}  {metric.name}, {metric.when}" if metric.kind == "cluster" else f"process {metric.name}"


def _bytes(metric: Metric) -> int:
    return int(metric.usage.get("pss") or metric.usage.get("rss") or 0)


def _mebibytes(value: float | None) -> str:
    return f"{value / _MIB:.1f} MiB" if value else ""
