"""Telling a person what is being prepared."""

from __future__ import annotations

import pytest

from pytest_kina.plugin import preparation
from pytest_kina.plugin.preparation import Teller


class FakeTime:
    """A wall clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        """The time now, in seconds."""
        return self.now


def test_a_counter_that_never_rests_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that changes many times a second is told after a second and every ten, with the time since it began."""
    clock, lines = FakeTime(), list[str]()
    monkeypatch.setattr(preparation, "time", clock)
    teller = Teller(lines.append)
    for tick in range(250):
        clock.now = 1000.0 + tick / 10
        teller._consider({"who": "gw0", "what": "compiling", "step": tick, "steps": 250, "at": clock.now})
    assert lines == [
        "kina: gw0: compiling (step 10 of 250, 1 s)",
        "kina: gw0: compiling (step 110 of 250, 11 s)",
        "kina: gw0: compiling (step 210 of 250, 21 s)",
    ]


def test_each_new_thing_is_told_unless_it_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that takes less than a second is not worth a line; whoever waits for it has lines of its own."""
    clock, lines = FakeTime(), list[str]()
    monkeypatch.setattr(preparation, "time", clock)
    teller = Teller(lines.append)
    for seconds, who, what in [
        (0.0, "gw0", "unpacking"),
        (0.5, "gw0", "verifying"),
        (0.6, "gw1", "waiting for process 7"),
        (2.0, "gw0", "verifying"),
        (2.1, "gw1", "waiting for process 7"),
    ]:
        clock.now = 1000.0 + seconds
        teller._consider({"who": who, "what": what, "step": 0, "steps": 0, "at": clock.now})
    assert lines == ["kina: gw0: verifying (2 s)", "kina: gw1: waiting for process 7 (2 s)"]
