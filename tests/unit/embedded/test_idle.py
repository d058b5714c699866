"""When the supervisor runs the idle helper: its decisions with a clock of our own and real helper processes."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import _idle
from pytest_kina._idle import Idle
from pytest_kina._supervisor import Components


class Clock:
    """Stands for the ``time`` module of the supervisor."""

    now = 1000.0

    def monotonic(self) -> float:
        """The time that the test says it is."""
        return self.now


class Helped(Idle):
    """An idle watcher whose helper is waited for, so that a test can go step by step."""

    def step(self) -> bool:
        """Look once; when that has started a helper, wait for its end and let its answer be judged, too."""
        if self.look():
            return True
        if self._process is None:
            return False
        self._process.wait()
        return self.look()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only the test moves."""
    made = Clock()
    monkeypatch.setattr(_idle, "time", made)
    return made


@pytest.fixture
def idle(tmp_path: Path, clock: Clock) -> Callable[..., Helped]:
    """Makes a watcher of ``0.lock``, whose helper notes its run and prints the given text."""
    components = Components.__new__(Components)  # without the constructor: it would make the test run a subreaper
    components._running = {}

    def make(text: str | None = None, **answer: Any) -> Helped:
        (tmp_path / "0.lock").touch()
        printed = json.dumps({"wake_after": None, "watch": [], "stop": False} | answer) if text is None else text
        script = f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); print({printed!r})"
        argv = [sys.executable, "-IS", "-c", script]
        return Helped(tmp_path / "0.lock", argv, {}, tmp_path / "tidy.log", components.adopt_helper)

    return make


def runs(tmp_path: Path) -> int:
    """How often the helper has run."""
    return len((tmp_path / "runs").read_text()) if (tmp_path / "runs").exists() else 0


def test_two_free_looks_are_needed(idle: Callable[..., Helped], tmp_path: Path) -> None:
    """A slot that is free for a moment, between two leases, is left alone."""
    watcher = idle()
    assert not watcher.step()
    assert runs(tmp_path) == 0
    assert not watcher.step()
    assert runs(tmp_path) == 1


def test_a_held_lock_begins_the_count_anew(idle: Callable[..., Helped], tmp_path: Path) -> None:
    """Free, held, free: the second free look is a first one again."""
    watcher = idle()
    watcher.step()
    holder = os.open(tmp_path / "0.lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    watcher.step()
    os.close(holder)
    watcher.step()
    assert runs(tmp_path) == 0
    watcher.step()
    assert runs(tmp_path) == 1


def test_the_probe_does_not_keep_the_lock(idle: Callable[..., Helped], tmp_path: Path) -> None:
    """After a look the lock can be taken at once."""
    idle().step()
    holder = os.open(tmp_path / "0.lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(holder)


def test_at_most_once_a_second(idle: Callable[..., Helped], clock: Clock, tmp_path: Path) -> None:
    """A record that changes all the time does not make the helper run all the time."""
    watcher = idle()
    watcher.step()
    watcher.step()
    for number in range(5):
        (tmp_path / "0.json").write_text(str(number))
        watcher.step()
    assert runs(tmp_path) == 1
    clock.now += 1
    watcher.step()
    assert runs(tmp_path) == 2


def test_nothing_new_is_nothing_to_do(idle: Callable[..., Helped], clock: Clock, tmp_path: Path) -> None:
    """Once decided, with no time and no locks to wait for, the helper rests."""
    watcher = idle()
    for _ in range(10):
        watcher.step()
        clock.now += 100
    assert runs(tmp_path) == 1


def test_the_named_time(idle: Callable[..., Helped], clock: Clock, tmp_path: Path) -> None:
    """``wake_after`` counts from the answer."""
    watcher = idle(wake_after=840.0)
    watcher.step()
    watcher.step()
    clock.now += 839
    watcher.step()
    assert runs(tmp_path) == 1
    clock.now += 1
    watcher.step()
    assert runs(tmp_path) == 2


def test_stop_ends_the_cluster(idle: Callable[..., Helped]) -> None:
    """The helper's ``stop`` is the watcher's."""
    watcher = idle(stop=True)
    assert not watcher.step()
    assert watcher.step()


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"wake_after": "soon", "watch": [], "stop": true}'])
def test_a_senseless_answer_is_a_failure(idle: Callable[..., Helped], clock: Clock, tmp_path: Path, text: str) -> None:
    """What cannot be understood stops nothing, and is asked again after a pause that grows."""
    watcher = idle(text)
    watcher.step()
    assert not watcher.step()
    clock.now += 1.9
    watcher.step()
    assert runs(tmp_path) == 1
    clock.now += 0.2
    watcher.step()
    assert runs(tmp_path) == 2
    clock.now += 3.9
    watcher.step()
    assert runs(tmp_path) == 2


def test_a_helper_that_cannot_be_executed_ends_the_cluster_after_a_grace(
    idle: Callable[..., Helped], clock: Clock, tmp_path: Path
) -> None:
    """When the installation is gone nobody will ever tidy: after many tries over 15 minutes the cluster ends itself."""
    watcher = idle()
    watcher._argv = [str(tmp_path / "gone"), "-m", "x"]
    began = clock.now
    while not watcher.step():
        clock.now += 10
        assert clock.now - began < 2000
    assert clock.now - began >= _idle._GRACE


def test_a_held_slot_is_never_ended_for_a_broken_helper(
    idle: Callable[..., Helped], clock: Clock, tmp_path: Path
) -> None:
    """While somebody has leased the cluster, it lives, whatever the helper does."""
    watcher = idle()
    watcher._argv = [str(tmp_path / "gone")]
    for _ in range(60):
        watcher.step()
        clock.now += 10
    holder = os.open(tmp_path / "0.lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    for _ in range(200):
        assert not watcher.step()
        clock.now += 10
    os.close(holder)


def test_a_helper_that_recovers_is_forgiven(idle: Callable[..., Helped], clock: Clock, tmp_path: Path) -> None:
    """One sensible answer ends the count of failures."""
    watcher = idle()
    working, watcher._argv = watcher._argv, [str(tmp_path / "gone")]
    for _ in range(80):
        watcher.step()
        clock.now += 10
    watcher._argv = working
    for _ in range(10):
        watcher.step()
        clock.now += 10
    assert runs(tmp_path) == 1
    assert watcher._failures == 0


def test_without_a_helper_nothing_is_run(idle: Callable[..., Helped], clock: Clock) -> None:
    """A place that names no helper has a supervisor all the same."""
    watcher = idle()
    watcher._argv = []
    for _ in range(5):
        assert not watcher.step()
        clock.now += 10
    assert watcher._process is None
