"""Whole pytest runs for the tests of this folder: a project, a root, and the proof that nothing outlives them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_kina.waiting import Deadline, wait_until
from tests.support.runs import Finished, Home, finish, write_project
from tests.support.universal import every_process, leftovers, sweep

FAKE = "pytest_kina.testing:FakeProvider"


@dataclass
class Scene:
    """Runs of one project on one root; what a test starts through it never outlives the test."""

    home: Home
    provider: str

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start pytest in a process group of its own, as a shell does, so that Ctrl-C reaches all of it."""
        settings = {
            "KINA_TTL": "0s",
            "KINA_POOL_SIZE": "2",
            "KINA_LEASE_TIMEOUT": "60s",
            "SCENE": str(self.home.project),
        }
        chosen = ["-p", "no:benchmark", "-p", "no:hypothesispytest", f"--kina-provider={self.provider}"]
        return self.home.start(*chosen, *arguments, group=True, **{**settings, **environment})

    def run(self, *arguments: str, **environment: str) -> Finished:
        """Run pytest to its end."""
        return finish(self.start(*arguments, **environment), 120)

    def write(self, source: str, **files: str) -> None:
        """The project's one module of tests, and further modules."""
        modules = {"test_it.py": source, **{f"{name}.py": text for name, text in files.items()}}
        write_project(self.home.project, modules)

    def told(self, word: str) -> None:
        """Wait until a test of the project has said ``word``."""
        found = wait_until(lambda: (self.home.project / word).exists() or None, Deadline(60.0), interval=0.02)
        assert found, f"no test said {word!r}"

    def processes(self) -> dict[int, str]:
        """Every process that has this root in its environment: pytest, its workers, what tests started."""
        wanted = b"KINA_HOME=" + os.fsencode(self.home.root)
        return {pid: line for pid, line, environ in every_process() if wanted in environ.split(b"\0")}

    def workers(self) -> list[int]:
        """Pids of the xdist workers."""
        return sorted(pid for pid, line in self.processes().items() if "-m pytest" not in line and "python" in line)

    def everybody_ends(self) -> None:
        """Wait for workers that outlive their controller for a moment."""
        assert wait_until(lambda: not self.processes() or None, Deadline(60.0), interval=0.05), self.processes()

    def leaves_nothing(self) -> None:
        """Nothing at all is left of a run that has cleaned up behind itself."""
        self.everybody_ends()
        assert list(leftovers(self.home.root)) == []

    def is_swept(self) -> None:
        """One sweep by the next run removes what is left."""
        self.everybody_ends()
        assert sweep(self.home.root).left == ()

    def end(self) -> None:
        """Kill whatever still runs."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.home.sweep()


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A scene with the fake provider, or with the one that the test is parametrised with."""
    provider = getattr(request, "param", FAKE)
    assets = request.getfixturevalue("assets") if provider == "embedded" else ""
    project = tmp_path / "project"
    project.mkdir()
    environment = {"KINA_FAKE": str(tmp_path / "fake.json")}
    (tmp_path / "fake.json").write_text("{}", encoding="utf-8")
    made = Scene(Home(root=tmp_path / "home", project=project, assets=assets, environment=environment), provider)
    yield made
    made.end()


def interrupt(process: subprocess.Popen[str], times: int = 1, pause: float = 0.3) -> None:
    """Press Ctrl-C: SIGINT to the whole process group, as often as asked."""
    for number in range(times):
        if number:
            time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
