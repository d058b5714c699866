"""What `pytest-kina status` says of a slot that nobody uses any more."""

from __future__ import annotations

from collections.abc import Sequence
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
