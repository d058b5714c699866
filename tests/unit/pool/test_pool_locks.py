"""Looking at a lock from outside."""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kina.errors import StateError
from pytest_kina.pool.locks import ProcessLock, drop_file, is_alive, is_held, try_lock


def test_a_look_at_a_lock_changes_nothing(tmp_path: Path) -> None:
    """No file is made for it, a held lock stays held, and a free one can be had at once."""
    path = tmp_path / "0.lock"
    assert not is_held(path)
    assert not path.exists()
    lock = try_lock(path)
    assert lock is not None
    assert is_held(path)
    assert is_held(path)
    lock.release()
    assert not is_held(path)
    again = try_lock(path)
    assert again is not None
    drop_file(again, path)
    assert not path.exists()


def test_a_look_leaves_no_file_of_a_process_that_just_ends(tmp_path: Path) -> None:
    """However often somebody looks while locks are taken and dropped, none comes back."""
    names: list[str] = []

    def live() -> None:
        for _ in range(200):
            process = ProcessLock(tmp_path, "0123456789abcdef")
            process.take()
            names.append(process.name)
            process.drop()

    with ThreadPoolExecutor(1) as threads:
        living = threads.submit(live)
        while not living.done():
            if names:
                is_alive(tmp_path, names[-1])
    living.result()
    assert list(tmp_path.iterdir()) == []


def test_a_process_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    """Nobody is alive before the lock is taken, and after it was dropped, its file with it."""
    process = ProcessLock(tmp_path, "0123456789abcdef")
    assert not is_alive(tmp_path, process.name)
    process.take()
    assert is_alive(tmp_path, process.name)
    process.drop()
    assert not is_alive(tmp_path, process.name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", ["open", "flock"])
def test_who_cannot_be_asked_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Without a descriptor, or on a disk that fails, whether a lock is held is an error, never "free"."""
    path = tmp_path / "a.lock"
    path.touch()

    def fails(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr({"open": os, "flock": fcntl}[refused], refused, fails)
    with pytest.raises(StateError, match="Too many open files"):
        is_held(path)


def test_those_who_ask_at_one_moment_do_not_see_each_other(tmp_path: Path) -> None:
    """Whoever asks whether a lock is held looks like no holder to others who ask."""
    path = tmp_path / "a.lock"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(path)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert is_held(path)
