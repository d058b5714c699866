"""``runs/<run>/summary.json``: one run's timings for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_kina.files import write_atomic
from pytest_kina.report.pieces import pieces
from pytest_kina.report.series import VERSION, Series, comparable
from pytest_kina.report.stats import describe
from pytest_kina.timing import TimingEvent

FILE = "summary.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimings:
    """All that is known of one run's timings when it ends.

    ``late`` are events of earlier runs, recorded after those had ended. ``incomplete`` says, in sentences, why events
    of this run may be missing; empty means that the run is complete.
    """

    run: str
    events: Sequence[TimingEvent]
    late: Sequence[TimingEvent] = ()
    incomplete: Sequence[str] = field(default_factory=tuple)


def summary(timings: RunTimings) -> dict[str, Any]:
    """The document without its events: plain JSON types; every duration in seconds."""
    return {
        "schema": SCHEMA,
        "run": timings.run,
        "complete": not timings.incomplete,
        "incomplete": list(timings.incomplete),
        "series_version": VERSION,
        "series": [_row(series) for series in comparable(timings.events)],
    }


def write_summary(directory: Path, timings: RunTimings) -> Path:
    """Write ``summary.json`` into the run's directory and return its path. Raises :class:`OSError`."""
    path = directory / FILE
    events, late = ((event.to_json() for event in found) for found in (timings.events, timings.late))
    write_atomic(path, pieces({**summary(timings), "events": events, "late": late}))
    return path


def _row(series: Series) -> dict[str, Any]:
    key = series.key
    return {
        "name": key.fullname,
        "phase": key.phase,
        "provider": key.provider,
        "provider_versions": list(series.provider_versions),
        "kubernetes": list(series.kubernetes),
        "profile": key.profile,
        "nodes": key.nodes,
        "start": key.start,
        "concurrency": key.bucket,
        "failures": series.failures,
        "stats": describe(series.seconds) if series.seconds else None,
    }
