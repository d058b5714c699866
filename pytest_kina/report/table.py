"""The timings of a run as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_kina.report.series import PREPARATION, place, samples, warmth
from pytest_kina.timing import TimingEvent

_HEADINGS = ("phase", "start", "n", "min", "median", "max", "failed")
_PREPARATION = "preparation"
_Place = tuple[int, str, str]  # rank in a cluster's life, phase, start


@dataclass(frozen=True, slots=True)
class _Row:
    phase: str
    start: str
    seconds: tuple[float, ...]
    failures: int

    def cells(self) -> tuple[str, ...]:
        from statistics import median

        figures = [self.seconds and duration(of(self.seconds)) for of in (min, median, max)]
        shown = [figure or "-" for figure in figures]
        return self.phase, self.start, str(len(self.seconds)), *shown, str(self.failures or "")


def table(events: Iterable[TimingEvent]) -> list[str]:
    """A block per kind of cluster: a heading, then a row per phase and start, warm and cold apart. No events: []."""
    blocks: dict[str, dict[_Place, list[float | None]]] = {}
    known: dict[tuple[object, ...], list[float | None]] = {}  # writing a heading for each event would take seconds
    for sample in samples(events):
        one = sample.event
        about = (one.provider, one.provider_version, one.kubernetes, one.profile, one.nodes, one.start)
        found = known.get(raw := (sample.phase, *about))
        if found is None:
            found = known[raw] = blocks.setdefault(_heading(one), {}).setdefault(_placed(sample.phase, one), [])
        found.append(sample.seconds if one.ok else None)
    rows = {heading: [_row(place, block[place]) for place in sorted(block)] for heading, block in blocks.items()}
    widths = _widths([row.cells() for found in rows.values() for row in found])
    lines: list[str] = []
    for heading in sorted(rows, key=lambda heading: (heading != _PREPARATION, heading)):
        lines += [heading, _line(_HEADINGS[: len(widths)], widths)]
        lines += [_line(row.cells(), widths) for row in rows[heading]]
    return lines


def duration(seconds: float) -> str:
    """``43.1 ms``, ``2.50 s`` or ``4 min 05 s``; at least three digits that mean something."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 99.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _heading(event: TimingEvent) -> str:
    if event.phase in PREPARATION:
        return _PREPARATION
    provider = f"{event.provider or 'unknown provider'} {event.provider_version}".strip()
    nodes = f"{event.nodes} node{'' if event.nodes == 1 else 's'}"
    version = event.kubernetes and f"Kubernetes {event.kubernetes}"
    return ", ".join(part for part in (provider, version, event.profile, nodes) if part)


def _placed(phase: str, event: TimingEvent) -> _Place:
    start = "" if event.phase in PREPARATION else f"{warmth(event.start)}, {event.start}"
    return place(phase), phase, start


def _row(of: _Place, found: Sequence[float | None]) -> _Row:
    seconds = tuple(value for value in found if value is not None)
    return _Row(of[1], of[2], seconds, len(found) - len(seconds))


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    columns = list(zip(_HEADINGS, *rows, strict=True))
    if not any(columns[-1][1:]):
        columns.pop()
    return [max(len(cell) for cell in column) for column in columns]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ]
    return f"  {'  '.join(aligned)}".rstrip()
