"""Directories of runs: spools, what happens after a run, and their bounded number."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pytest_kina.report import runs
from pytest_kina.timing import Phase, TimingEvent, TimingRecorder

DAY = 24 * 3600.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The directory of all runs, below a root with its directory of process locks."""
    (tmp_path / "processes").mkdir()
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def _record(home: Path, run: str, worker: str, phase: Phase = Phase.DELETE) -> TimingEvent:
    (home / run).mkdir(exist_ok=True)
    return TimingRecorder(run=run, worker=worker, spool=home / run / f"{worker}.jsonl").add(phase, 1.0)


def _aged(home: Path, run: str, seconds: float) -> Path:
    directory = home / run
    directory.mkdir()
    spool = directory / "main.jsonl"
    spool.write_text("")
    for path in (spool, directory):
        os.utime(path, (time.time() - seconds, time.time() - seconds))
    return directory


def test_the_spools_of_all_processes_are_read(home: Path) -> None:
    """Workers' spools and that of the idle helper hold the events of one run."""
    recorded = [_record(home, "a", worker) for worker in ("gw0", "gw1", "idle-3")]
    assert list(runs.spooled(home / "a")) == recorded


def test_a_torn_last_line_hides_only_itself(home: Path) -> None:
    """A killed worker's spool is read up to its last whole line."""
    recorded = _record(home, "a", "gw0")
    with (home / "a" / "gw0.jsonl").open("a") as stream:
        stream.write('{"schema": 1, "id": "x", "ph')
    assert list(runs.spooled(home / "a")) == [recorded]


def test_a_run_without_a_directory_has_no_events(home: Path) -> None:
    """Nothing recorded is nothing read, whether for this run or for earlier ones."""
    assert list(runs.spooled(home / "none")) == []
    assert runs.late(home / "none" / "deeper") == []


def test_what_a_helper_recorded_for_an_earlier_run_is_late_exactly_once(home: Path) -> None:
    """The next run shows a later deletion, the run after it does not."""
    deleted = _record(home, "a", "idle-0")
    assert runs.late(home / "b") == [deleted]
    runs.mark_shown(home / "b", [deleted])
    assert runs.late(home / "c") == []


def test_only_new_events_of_a_helper_are_late(home: Path) -> None:
    """A reset that was shown already does not come back with the deletion that follows it."""
    first = _record(home, "a", "idle-0", Phase.RESET)
    runs.mark_shown(home / "b", [first])
    path = home / "a" / "idle-0.jsonl"
    second = {**json.loads(path.read_text()), "id": "other", "phase": "delete"}
    with path.open("a") as stream:
        stream.write(json.dumps(second) + "\n")
    late = runs.late(home / "b")
    assert [event.phase for event in late] == [Phase.DELETE]
    runs.mark_shown(home / "b", late)
    assert runs.late(home / "b") == []


def test_events_of_another_runs_workers_are_its_own_business(home: Path) -> None:
    """A run that goes on at the same time shows its workers' events itself."""
    _record(home, "a", "gw0")
    assert runs.late(home / "b") == []


def test_a_helpers_events_that_the_run_itself_showed_are_not_late(home: Path) -> None:
    """A background reset during the run is part of that run only."""
    _record(home, "a", "idle-0")
    runs.mark_shown(home / "a", runs.spooled(home / "a"))
    assert runs.late(home / "b") == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "ids": 3}', '{"schema": 9}'])
def test_an_unusable_memory_of_what_was_shown_shows_again(home: Path, content: str) -> None:
    """Showing a deletion twice is better than never."""
    deleted = _record(home, "a", "idle-0")
    (home / "a" / "shown.json").write_text(content)
    assert runs.late(home / "b") == [deleted]


def test_marking_does_not_bring_back_a_run_that_was_removed(home: Path) -> None:
    """Another run may have pruned the directory meanwhile."""
    deleted = _record(home, "a", "idle-0")
    (home / "a" / "idle-0.jsonl").unlink()
    (home / "a").rmdir()
    runs.mark_shown(home / "b", [deleted])
    assert not (home / "a").exists()


def test_the_latest_twenty_runs_stay(home: Path) -> None:
    """The run itself and the nineteen before it stay, older ones go."""
    for number in range(25):
        _aged(home, f"r{number:02}", 60.0 * number)
    own = home / "own"
    own.mkdir()
    gone = runs.prune(own)
    assert sorted(gone) == [f"r{number:02}" for number in range(19, 25)]
    assert len(list(home.iterdir())) == runs.KEPT_RUNS


def test_runs_of_last_week_go_however_few_there_are(home: Path) -> None:
    """A week is the limit, and one second less than a week is not."""
    _aged(home, "old", 7 * DAY + 60)
    _aged(home, "young", 7 * DAY - 60)
    own = home / "own"
    own.mkdir()
    assert runs.prune(own) == ["old"]
    assert sorted(path.name for path in home.iterdir()) == ["own", "young"]


def test_a_run_that_may_still_live_is_never_removed(home: Path) -> None:
    """A process lock of the run keeps its directory, even after a week."""
    _aged(home, "live", 30 * DAY)
    (home.parent / "processes" / "live.123.abcdef01.lock").touch()
    own = home / "own"
    own.mkdir()
    assert runs.prune(own) == []
    assert (home / "live").is_dir()


def test_the_run_itself_is_never_removed(home: Path) -> None:
    """Not even when the clock was set forward during the run."""
    own = _aged(home, "own", 60.0)
    assert runs.prune(own, now=time.time() + 30 * DAY) == []
    assert own.is_dir()


def test_a_link_among_the_runs_is_neither_followed_nor_removed(home: Path, tmp_path: Path) -> None:
    """What a link points to is not ours."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (home / "link").symlink_to(elsewhere)
    own = home / "own"
    own.mkdir()
    assert runs.prune(own, now=time.time() + 30 * DAY) == []
    assert (elsewhere / "precious").exists()


def test_a_quiet_directory_with_a_new_spool_line_is_young(home: Path) -> None:
    """Appending to a spool does not touch the directory's own time, but it is life all the same."""
    directory = _aged(home, "busy", 30 * DAY)
    os.utime(directory / "main.jsonl")
    own = home / "own"
    own.mkdir()
    assert runs.prune(own) == []
