"""Draws the plots of docs/performance.md from what ``benchmarks.peers --record`` has kept; nothing is measured here.

python -m benchmarks.plots
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.peers.__main__ import DATA
from pytest_kina.html.svg import dot, line, rectangle, text, ticks
from pytest_kina.report.stats import quartiles

PLOTS = Path(__file__).parents[1] / "docs" / "plots"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 260, 60, 34, 40
_STYLE = (
    "text{font:12px sans-serif;fill:#555}.title{font-weight:bold;fill:#333}.grid{stroke:#ddd}.run{fill:#2a6fb0}"
    ".curve{stroke:#2a6fb0;stroke-width:1.5}.spread{stroke:#2a6fb0;stroke-width:1;opacity:.5}.ours{fill:#2a6fb0}"
    ".peer{fill:#b0b0b0}"
)

Data = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Point:
    """One size and its values."""

    size: int
    values: Sequence[float]


def main() -> int:
    """Draw what there is data for; say what there is not."""
    if not DATA.exists():
        raise SystemExit(f"{DATA} does not exist: python -m benchmarks.peers --record makes it")
    data: Data = json.loads(DATA.read_text())
    PLOTS.mkdir(exist_ok=True)
    drawn = {
        "starts.svg": bars(data),
        "clusters.svg": curve(
            "seconds until all clusters, asked for at once, are ready", _sized(data, "clusters", "all")
        ),
        "pods.svg": curve("seconds until all bare pods are Ready, 100 nodes", _sized(data, "pods", "ready")),
        "slots.svg": curve("milliseconds of a warm lease, by occupied slots", _sized(data, "slots", "lease", 1000)),
    }
    for name, picture in drawn.items():
        if picture:
            (PLOTS / name).write_text(picture)
        print(f"{PLOTS / name}: {'drawn' if picture else 'no data'}")
    return 0


def _sized(data: Data, unit: str, figure: str, scale: float = 1.0) -> list[Point]:
    """The subjects whose names are a number and ``unit``, by number."""
    named = ((subject.partition(" "), figures) for subject, figures in data.items())
    found = [
        Point(int(number), [value * scale for value in figures[figure]])
        for (number, _, what), figures in named
        if number.isdecimal() and what == unit and figure in figures
    ]
    return sorted(found, key=lambda point: point.size)


def curve(title: str, points: Sequence[Point]) -> str:
    """Medians by size, joined, each with its middle half; empty without points."""
    if not points:
        return ""
    marks = ticks(max(quartiles(sorted(point.values))[1] for point in points) * 1.1)
    floor = _HEIGHT - _BOTTOM
    up = (floor - _TOP) / marks[-1]
    right = (_WIDTH - _LEFT - 30) / points[-1].size
    parts = [text(_LEFT, 18, title, "title")]
    for mark in marks:
        y = floor - mark * up
        parts += [line(_LEFT, y, _WIDTH - 10, y, "grid"), text(_LEFT - 6, y + 4, f"{mark:g}", anchor="end")]
    before: tuple[float, float] | None = None
    for point in points:
        middle = median(point.values)
        low, high = quartiles(sorted(point.values))
        x, y = _LEFT + point.size * right, floor - middle * up
        if before:
            parts.append(line(*before, x, y, "curve"))
        parts += [
            line(x, floor - low * up, x, floor - high * up, "spread"),
            dot(x, y, "run", f"{point.size}: {middle:.2f}, {len(point.values)} measured"),
            text(x, floor + 18, point.size, anchor="middle"),
        ]
        before = x, y
    return _picture(_HEIGHT, title, parts)


def bars(data: Data) -> str:
    """Medians of the starts, ours and the peers', grouped by what was proven; empty without data."""
    rows = [
        (f"{proven}: {subject}", median(data[subject][proven]), subject)
        for proven in ("usable", "pod", "namespace")
        for subject in ("api template", "api fresh", "envtest", "workloads template", "workloads fresh", "kwokctl")
        if proven in data.get(subject, {}) and not (proven != "usable" and subject.startswith(("api", "envtest")))
    ]
    if not rows:
        return ""
    title = "seconds from the call until it was proven (median)"
    marks = ticks(max(value for _, value, _ in rows))
    left, height = 210, 60 + 22 * len(rows)
    scale = (_WIDTH - left - 60) / marks[-1]
    parts = [text(_LEFT, 18, title, "title")]
    for mark in marks:
        x = left + mark * scale
        parts += [line(x, 30, x, height - 24, "grid"), text(x, height - 8, f"{mark:g}", anchor="middle")]
    for number, (label, value, subject) in enumerate(rows):
        y = 34 + 22 * number
        css = "peer" if subject in ("envtest", "kwokctl") else "ours"
        parts += [
            text(left - 6, y + 12, label, anchor="end"),
            rectangle(left, y, value * scale, 16, css),
            text(left + value * scale + 4, y + 12, f"{value:.2f}"),
        ]
    return _picture(height, title, parts)


def _picture(height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img"'
    inside = "\n".join(parts)
    return f'{head} aria-label="{title}">\n<style>{_STYLE}</style>\n{inside}\n</svg>\n'


if __name__ == "__main__":
    sys.exit(main())
