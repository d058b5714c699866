"""What a run prepares once: one process works, the others wait, and all of them get the same error."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_kina.errors import BinaryError, KinaError, ProvisionError
from pytest_kina.pool.builds import Build


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """The election of a key, nobody elected yet."""
    return Build(tmp_path, "run.key")


def test_work_is_done_under_the_lock_and_counted(build: Build) -> None:
    """While the work goes on nobody else is elected and an attempt is on record; afterwards there is no file left."""

    def work() -> str:
        assert build.elect() is None
        assert '"attempts": 1' in build.count_path.read_text(encoding="utf-8")
        return "done"

    assert build.once(work, 5.0) == "done"
    assert list(build.directory.iterdir()) == []


def test_an_error_is_told_to_all_that_ask_later(build: Build) -> None:
    """Of the same kind, with its next step, and without doing the work again; the lock is free."""

    def fail() -> None:
        raise BinaryError("no such version", next_step="take another")

    with pytest.raises(BinaryError, match="no such version"):
        build.once(fail, 5.0)
    with pytest.raises(
        BinaryError, match="not tried again, because it has failed in this run: no such version"
    ) as later:
        build.once(lambda: pytest.fail("it was tried again"), 5.0)
    assert later.value.next_step == "take another"
    lock = build.elect()
    assert lock is not None
    build.give_up(lock)
    assert [path.name for path in build.directory.iterdir()] == [build.count_path.name]


def test_what_kills_two_processes_is_not_tried_a_third_time(build: Build) -> None:
    """Who dies at work cannot say so, but has been counted."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            build.once(die, 5.0)
    with pytest.raises(ProvisionError, match="2 processes of this run died while they tried"):
        build.once(lambda: pytest.fail("it was tried again"), 5.0)


def test_who_comes_second_waits_and_works_on_what_is_there(build: Build) -> None:
    """The second worker begins when the first has given up the lock, not before."""
    lock = build.elect()
    assert lock is not None
    worked: list[str] = []
    second = threading.Thread(target=lambda: build.once(lambda: worked.append("second"), 60.0))
    second.start()
    worked.append("first")
    build.give_up(lock)
    second.join()
    assert worked == ["first", "second"]


def test_a_stopped_holder_delays_but_does_not_prevent(build: Build) -> None:
    """After its patience a process works without the lock, which it leaves to its holder."""
    lock = build.elect()
    assert lock is not None
    assert build.once(lambda: "done", 0.05) == "done"
    assert lock.is_locked
    assert build.lock_path.exists()
    build.give_up(lock)


@pytest.mark.parametrize("kind", ["Surprise", "", "Path", "annotations"])
def test_an_error_of_an_unknown_kind_is_an_ordinary_one(build: Build, kind: str) -> None:
    """What another version calls its errors is raised as what it is for this one; nothing else is looked up by name."""
    build.count_path.write_text(f'{{"schema": 1, "error": "boom", "kind": "{kind}"}}', encoding="utf-8")
    with pytest.raises(KinaError, match="boom") as caught:
        build.refuse_hopeless()
    assert type(caught.value) is ProvisionError
    assert caught.value.next_step == "correct the cause and start a new run"
