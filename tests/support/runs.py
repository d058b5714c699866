"""Whole pytest runs as child processes, with a root of their own, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kina.timing import Phase, TimingEvent, read_spool

MARK = b"KINA_CLUSTER="
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A pytest run that has ended."""

    returncode: int
    output: str

    @property
    def outcomes(self) -> Counter[str]:
        """How many tests passed, failed, were skipped, … by pytest's last line."""
        last = next((line for line in reversed(self.output.splitlines()) if re.search(r" in \d", line)), "")
        return Counter({word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])})


@dataclass(frozen=True, kw_only=True)
class Home:
    """A root (``KINA_HOME``) for the runs of one test, and the project that they run in."""

    root: Path
    project: Path
    assets: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(
        self,
        *arguments: str,
        ci: bool = False,
        group: bool = False,
        through: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.Popen[str]:
        """Start pytest in the project; ``ci`` sets ``CI``, which deletes clusters at the end.

        ``group``: in a process group of its own, so that a signal may reach all of it and nobody else.
        ``through`` is a command that runs the command after it.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith(("KINA_", "PYTEST_", "COV_"))}
        env |= {"KINA_HOME": str(self.root), "KINA_ASSETS": self.assets, **self.environment, **environment}
        env.pop("CI", None)
        if ci:
            env["CI"] = "true"
            env.setdefault("KINA_GATE_BUDGET", "0")  # the gate's further clusters are tested elsewhere
        argv = [*through, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
        return subprocess.Popen(
            argv,
            cwd=self.project,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0 if group else None,
        )

    def run(self, *arguments: str, ci: bool = False, timeout: float = 300, **environment: str) -> Finished:
        """Run pytest in the project to its end."""
        return finish(self.start(*arguments, ci=ci, **environment), timeout)

    def events(self, phase: Phase | None = None) -> list[TimingEvent]:
        """The timing events of all runs with this root, oldest first, each once."""
        found = {event.id: event for path in self.root.glob("runs/*/*.jsonl") for event in read_spool(path)}
        chosen = [event for event in found.values() if phase is None or event.phase is phase]
        return sorted(chosen, key=lambda event: event.t0)

    def records(self) -> dict[int, dict[str, object]]:
        """The records of the slots that are not empty."""
        paths = self.root.glob("slots/*.json")
        return {int(path.stem): json.loads(path.read_text()) for path in paths if path.stem.isdigit()}

    def processes(self) -> dict[int, str]:
        """Every living process that belongs to a cluster below this root: pid and command line."""
        return {pid: line for pid, line, environment in _processes() if self._ours(line, environment)}

    def _ours(self, line: str, environment: bytes) -> bool:
        marked = MARK in environment or "_supervisor.py" in line or "pytest_kina._tidy" in line
        return marked and (str(self.root) in line or str(self.root).encode() in environment)

    def wait_until(self, what: Callable[[], object], seconds: float, why: str) -> None:
        """Wait for something that happens in the background; fail with the pool's state when it does not."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"{why}: not within {seconds} s; {self.records()}, {self.processes()}")
            time.sleep(0.05)

    def assert_nothing_left(self) -> None:
        """No process, no record, no cluster directory, no held lock."""
        assert self.processes() == {}
        assert self.records() == {}
        assert list((self.root / "clusters").iterdir()) == []
        assert list((self.root / "processes").iterdir()) == []

    def sweep(self) -> None:
        """End whatever a failed test left: processes by pid, so that nothing outlives the session."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def finish(process: subprocess.Popen[str], timeout: float = 300) -> Finished:
    """Wait for a run that was started. One that does not end in time is killed, and its output shown."""
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            output, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # something that it started has kept the pipe
            output = "(its output cannot be had)"
        raise AssertionError(f"the run did not end within {timeout} s:\n{output}") from None
    return Finished(returncode=process.returncode, output=ANSI.sub("", output))


def write_project(directory: Path, files: Mapping[str, str]) -> Path:
    """A project with these files."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


def leases(events: Sequence[TimingEvent]) -> Counter[str]:
    """How many leases each xdist worker took."""
    return Counter(event.worker for event in events if event.phase is Phase.LEASE_WAIT)


def _processes() -> list[tuple[int, str, bytes]]:
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append((int(path.name), line, (path / "environ").read_bytes()))
        except OSError:
            continue
    return [entry for entry in found if entry[1]]
