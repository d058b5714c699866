"""Preparing clusters at the end of collection, before any test and its time-out runs, and telling about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_kina.plugin.asked import Asked, is_skipped
from pytest_kina.plugin.xdist import is_controller, is_worker
from pytest_kina.run import Run

_INTERVAL = 0.5
_QUIET = 1.0
_REMIND = 10.0
_LOOKS = ("collectonly", "setupplan", "showfixtures", "show_fixtures_per_test", "kina_plan")


class Preparation:
    """Prepares in processes that run tests; tells about it in the one that has the terminal."""

    def __init__(self, config: pytest.Config, run: Run, asked: Asked) -> None:
        self._run = run
        self._asked = asked
        self._teller = Teller(_writer(config))
        self._distributes = False
        self._silent = is_worker(config)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """In the xdist controller, begin to tell what its workers prepare."""
        self._distributes = is_controller(session.config)
        if self._distributes:
            self._teller.begin(self._run.directory)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Prepare every cluster that the selected tests need."""
        specs = self._asked.specs(session.items)
        if not specs or not _will_run(session):
            return
        if not self._silent:
            self._teller.begin(self._run.directory)
        try:
            self._run.prepare(specs, needed_by=specs)
        finally:
            self._teller.end()
        if self._run.settings.prewarm:
            self._prewarm(session.items)

    def _prewarm(self, items: Sequence[pytest.Item]) -> None:
        running = [self._asked.request(item) for item in items if not is_skipped(item)]
        wanted = {request: None for request in running if request}
        # What the first test of a single process needs is made by that test at once, without a detour.
        if not self._silent and running[0]:
            wanted.pop(running[0])
        self._run.prewarm(wanted)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """The first test begins: nothing is prepared any more."""
        self._teller.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Whatever happened, the thread ends before the report."""
        self._teller.end()
        yield


class Teller:
    """A thread that writes one line per slow step of the processes that prepare something."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: dict[object, _Told] = {}

    def begin(self, directory: Path) -> None:
        """Start telling what the processes of the run with this directory prepare."""
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._tell, args=(directory,), name="kina-preparation", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Stop telling."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _tell(self, directory: Path) -> None:
        from pytest_kina.progress import current

        while not self._ended.wait(_INTERVAL):
            for step in current(directory):
                self._consider(step)

    def _consider(self, step: dict[str, object]) -> None:
        now, who, what = time.time(), step["who"], step["what"]
        known = self._told.get(who)
        if known is None or known.what != what:
            known = self._told[who] = _Told(what=what, began=float(str(step["at"])))
        # A compiler's counter moves many times a second: what is told depends on the time, not on its steps.
        if now - known.began >= _QUIET and now - known.last >= _REMIND:
            known.last = now
            self._write(f"kina: {who}: {told_as(step, now - known.began)}")


@dataclass(slots=True)
class _Told:
    """What one process is doing, since when, and when that was last told (seconds of the wall clock)."""

    what: object
    began: float
    last: float = 0.0


def told_as(step: dict[str, object], elapsed: float) -> str:
    """One step in words; ``elapsed`` is in seconds."""
    of = f"step {step['step']} of {step['steps']}, " if step["steps"] else ""
    return f"{step['what']} ({of}{elapsed:.0f} s)"


def _writer(config: pytest.Config) -> Callable[[str], None]:
    def write(line: str) -> None:
        if reporter := config.pluginmanager.getplugin("terminalreporter"):
            reporter.ensure_newline()
            reporter.write_line(line)
            reporter.flush()  # a pipe, as in CI, would keep it until there is much to tell

    return write


def _will_run(session: pytest.Session) -> bool:
    option = session.config.option
    if any(getattr(option, name) for name in _LOOKS):
        return False
    return not session.testsfailed or option.continue_on_collection_errors
