"""The operations of a run that took longer than a threshold, the slowest first."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_kina.report.table import duration
from pytest_kina.timing import TimingEvent

_MOST = 20


def slow(events: Iterable[TimingEvent], threshold: float) -> list[str]:
    """A heading and a line per event over ``threshold`` seconds, 20 at most; nothing for 0 and when all were quick."""
    found = sorted((one for one in events if one.seconds > threshold > 0), key=lambda one: -one.seconds)
    if not found:
        return []
    lines = [f"  {_line(one)}" for one in found[:_MOST]]
    rest = [f"  and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return [f"slow operations (over {duration(threshold)}):", *lines, *rest]


def _line(event: TimingEvent) -> str:
    failed = "" if event.ok else f" FAILED ({event.error})"
    about = [event.cluster, event.worker, event.nodeid]
    return f"{event.phase.value} {duration(event.seconds)}{failed}: {', '.join(part for part in about if part)}"
