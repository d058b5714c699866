"""Deadlines and polling, with a clock that only moves when told to."""

import pytest

from pytest_kina.waiting import Deadline, wait_until


class FakeClock:
    """A monotonic clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time now, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


def test_deadline_counts_down_and_stops_at_zero() -> None:
    """Remaining time shrinks with the clock and is never negative."""
    clock = FakeClock()
    deadline = Deadline(10, clock=clock)
    clock.sleep(4)
    assert (deadline.elapsed, deadline.remaining, deadline.expired) == (4, 6, False)
    clock.sleep(7)
    assert (deadline.remaining, deadline.expired) == (0, True)


def test_wait_returns_what_was_seen() -> None:
    """The first true answer ends the wait and is returned."""
    clock = FakeClock()
    answers = iter([None, 0, "", "ready"])
    assert wait_until(lambda: next(answers), Deadline(10, clock=clock), interval=1, sleep=clock.sleep) == "ready"
    assert clock.now == 103


def test_wait_looks_at_least_once_and_ends_at_the_deadline() -> None:
    """A deadline in the past still allows one look; otherwise the last look is at the deadline, not after it."""
    clock = FakeClock()
    looks: list[float] = []
    assert wait_until(lambda: looks.append(clock.now), Deadline(0, clock=clock), interval=1, sleep=clock.sleep) is None
    assert len(looks) == 1
    looks.clear()
    deadline = Deadline(2.5, clock=clock)
    assert wait_until(lambda: looks.append(clock.now), deadline, interval=1, sleep=clock.sleep) is None
    assert [look - 100 for look in looks] == [0, 1, 2, 2.5]


def test_an_error_ends_the_wait_early() -> None:
    """What the look raises is not swallowed: there is no point in waiting for something that has died."""

    def look() -> None:
        raise RuntimeError("etcd has exited")

    with pytest.raises(RuntimeError, match="etcd"):
        wait_until(look, Deadline(10, clock=FakeClock()), interval=1)
