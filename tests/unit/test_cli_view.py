"""What `pytest-kina status` says of a slot that nobody uses any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.cli.view import SlotView, table, views
from pytest_kina.pool import Root, open_root, records
from pytest_kina.pool.locks import ProcessLock, try_lock
from pytest_kina.pool.records import Note, Record, State

DEAD = "feed.1.00000000"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """An empty pool."""
    return open_root(tmp_path / "home")


def seen(
    root: Root, state: State, doing: str = "using", *, users: Sequence[str] = (), kept: bool = False
) -> tuple[SlotView, str]:
    """The only slot as a command sees it, and its line in the table."""
    note = Note(doing=doing, pid=4711, worker="gw3", test="test_a.py::test_it", since=1.0)
    record = Record(
        state=state,
        cluster="kina-1",
        provider="fake",
        fingerprint="f",
        run="feed",
        users=tuple(users),
        kept=kept,
        note=note,
    )
    records.write(root.slots, 0, record)
    (view,) = views(root, 1)
    return view, table([view])[1]


@pytest.mark.parametrize(
    ("state", "users", "kept", "doing"),
    [
        (State.SHARED, (), False, "idle"),
        (State.SHARED, (DEAD,), False, "idle"),
        (State.DIRTY, (), False, "idle"),
        (State.DIRTY, (), True, "kept"),
        (State.QUARANTINED, (), True, "kept"),
    ],
)
def test_a_slot_that_nobody_uses_says_who_used_it_last(
    root: Root, state: State, users: Sequence[str], kept: bool, doing: str
) -> None:
    """With a free lock and no living user nobody is said to use the cluster, neither to people nor to programs."""
    view, line = seen(root, state, users=users, kept=kept)
    assert "last used for test_a.py::test_it by process 4711 (gw3) of run feed" in line
    assert "using" not in line
    assert "shared by" not in line
    assert view.to_json()["holder"]["doing"] == doing


@pytest.mark.parametrize(
    ("doing", "words"), [("idle", "left idle for"), ("deleting", "was deleting for")], ids=["idle", "unfinished"]
)
def test_other_activities_are_past_too(root: Root, doing: str, words: str) -> None:
    """What a process left idle or unfinished is not going on."""
    view, line = seen(root, State.DOOMED, doing)
    assert words in line
    assert view.to_json()["holder"]["doing"] == "idle"


def test_a_held_slot_says_what_its_holder_does(root: Root) -> None:
    """As long as the lock is held, somebody uses the cluster."""
    lock = try_lock(records.lock_path(root.slots, 0))
    assert lock is not None
    try:
        view, line = seen(root, State.DIRTY)
    finally:
        lock.release()
    assert "using for test_a.py::test_it by process 4711" in line
    assert view.to_json()["holder"]["doing"] == "using"


def test_a_shared_cluster_counts_only_living_users(root: Root) -> None:
    """Who died no longer shares; who lives uses the cluster although its lock is free."""
    process = ProcessLock(root.processes, "feed")
    process.take()
    try:
        view, line = seen(root, State.SHARED, users=(process.name, DEAD))
    finally:
        process.drop()
    assert "using for test_a.py::test_it" in line
    assert line.endswith("; shared by 1")
    assert view.to_json()["holder"]["doing"] == "using"


def test_a_stopped_process_that_shares_a_cluster_is_shown(root: Root) -> None:
    """It keeps the cluster from everybody else, though the slot's lock is free."""
    code = "import os, sys, time; from pathlib import Path; from pytest_kina.pool.locks import ProcessLock\n"
    code += "lock = ProcessLock(Path(sys.argv[1]), 'feed'); lock.take(); print(lock.name, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, root.processes], stdout=subprocess.PIPE, text=True) as sharer:
        assert sharer.stdout is not None
        name = sharer.stdout.readline().strip()
        assert seen(root, State.SHARED, users=(name,))[1].endswith("; shared by 1")
        sharer.send_signal(signal.SIGSTOP)
        os.waitpid(sharer.pid, os.WUNTRACED)
        view, line = seen(root, State.SHARED, users=(name,))
        document = view.to_json()
        sharer.kill()
    assert line.endswith("; shared by 1, STOPPED")
    assert document["holder"]["stopped"] is True


@pytest.mark.parametrize(("doing", "word"), [("using", "DEAD"), ("resetting", "?")])
def test_a_cluster_that_is_worked_on_is_not_called_dead(root: Root, doing: str, word: str) -> None:
    """Its API server may be just starting; whoever uses a cluster has a right to a living one."""
    seen(root, State.DIRTY, doing)
    record = records.peek(root.slots, 0)
    assert record is not None
    records.write(root.slots, 0, replace(record, provider="pytest_kina.testing:FakeProvider"))
    lock = try_lock(records.lock_path(root.slots, 0))
    assert lock is not None
    try:
        (view,) = views(root, 1, {})
    finally:
        lock.release()
    assert view.condition is not None
    assert view.condition.word() == word
