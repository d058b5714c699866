"""The directories of runs: their spool files, what was recorded after a run had ended, and their end.

``runs/<run>/<xdist worker>.jsonl`` has the events of one process. An idle helper that resets or deletes a cluster
writes into ``runs/<run>/idle-<slot>.jsonl`` of the run that the slot's record names, a command into
``idle-command.jsonl`` of a run of its own. Usually nobody looks at that run any more, so the next run shows those
events, once: ``shown.json`` beside the spools holds the ids of the events that were shown.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_kina.files import peek_json, write_json
from pytest_kina.timing import TimingEvent, read_spool

IDLE = "idle-"
"""How the ``worker`` of events begins that were recorded outside of a test run."""

COMMAND = f"{IDLE}command"
"""The ``worker`` of events recorded by a command."""

KEPT_RUNS = 20
KEPT_SECONDS = 7 * 24 * 3600.0
_SHOWN = "shown.json"
_SCHEMA = 1
_log = logging.getLogger(__name__)


def spooled(directory: Path) -> Iterator[TimingEvent]:
    """All events in the spool files of one run, file by file; a missing directory has none."""
    return (event for path in sorted(directory.glob("*.jsonl")) for event in read_spool(path))


def late(directory: Path) -> list[TimingEvent]:
    """What idle helpers and commands recorded beside ``directory`` and nobody has been shown yet."""
    return [event for other in _others(directory) for event in _unseen(other)]


def mark_shown(directory: Path, events: Iterable[TimingEvent]) -> None:
    """Remember that these events were shown, in the directories of their runs. Raises :class:`OSError`."""
    by_run: dict[str, set[str]] = {}
    for event in events:
        if event.worker.startswith(IDLE):
            by_run.setdefault(event.run, set()).add(event.id)
    for run, ids in by_run.items():
        home = directory.parent / run
        if home.is_dir():
            write_json(home / _SHOWN, _SCHEMA, {"ids": sorted(ids | _shown(home))})


def prune(directory: Path, *, now: float | None = None) -> list[str]:
    """Remove old runs beside ``directory``: all but the latest 20, and all that are a week old.

    Runs of which a process may still live (it has a file in ``processes``) stay, and so does ``directory`` itself.
    Returns the names of the runs that went. What cannot be removed stays for the next run.
    """
    moment = time.time() if now is None else now
    ages = sorted((moment - _last_change(other), other) for other in _others(directory))
    old = [
        other
        for rank, (age, other) in enumerate(ages, start=2)  # the run itself is the first of those that stay
        if (rank > KEPT_RUNS or age > KEPT_SECONDS) and not _may_live(other)
    ]
    for other in old:
        shutil.rmtree(other, ignore_errors=True)
    return [other.name for other in old]


def _others(directory: Path) -> list[Path]:
    try:
        found = sorted(directory.parent.iterdir())
    except OSError:
        return []
    return [path for path in found if path.name != directory.name and path.is_dir() and not path.is_symlink()]


def _unseen(directory: Path) -> list[TimingEvent]:
    shown = _shown(directory)
    found = [event for path in sorted(directory.glob(f"{IDLE}*.jsonl")) for event in read_spool(path)]
    return [event for event in found if event.id not in shown]


def _shown(directory: Path) -> set[str]:
    document = peek_json(directory / _SHOWN, _SCHEMA) or {}
    ids = document.get("ids")
    return {name for name in ids if isinstance(name, str)} if isinstance(ids, list) else set()


def _last_change(directory: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
    except OSError:  # it is being removed by another run
        return 0.0


def _may_live(directory: Path) -> bool:
    return any((directory.parent.parent / "processes").glob(f"{directory.name}.*"))
