"""Telling a person what is being prepared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.plugin import preparation
from pytest_kina.plugin.preparation import Teller
from tests.plugin.conftest import Project

PATIENT = """
import pathlib
from pytest_kina.errors import ProvisionError
from pytest_kina.testing import FakeProvider
from pytest_kina.waiting import Deadline, wait_until

class Patient(FakeProvider):
    def prepare(self, spec, progress):
        progress("waiting to be seen", 1, 2)
        if not wait_until(pathlib.Path("seen").exists, Deadline(30.0), interval=0.05):
            raise ProvisionError("nobody has seen it")
        return super().prepare(spec, progress)
"""


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


@pytest.mark.parametrize("how", [("-p", "no:xdist"), ("-n", "1")], ids=["serial", "xdist"])
def test_a_reader_of_a_pipe_is_told_while_it_happens(project: Project, how: tuple[str, ...]) -> None:
    """CI shows the lines of a pipe; a build of minutes must not look like a run that hangs."""
    project.write(patient=PATIENT, test_it="def test_it(kina_cluster): ...")
    quiet = [word for name in ("randomly", "cacheprovider", "timeout") for word in ("-p", f"no:{name}")]
    argv = [sys.executable, "-m", "pytest", *quiet, *how, "--kina-provider=patient:Patient", "--kina-ttl=0"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env |= {"PYTHONPATH": str(project.pytester.path)}
    with subprocess.Popen(argv, cwd=project.pytester.path, env=env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "waiting to be seen (step 1 of 2, " in line:
                Path(project.pytester.path, "seen").touch()
        said = run.wait(60)
    assert said == 0
