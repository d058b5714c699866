"""Carries timing events from where they are measured to where they are shown.

Three ways, because each of them fails in another accident: on the report of the test (lost when the worker dies
before it reports), in the xdist worker's last message (lost when it dies before its end), and in the worker's spool
file (not there when the worker ran on another host). The controller, or the only process, counts each event once,
and writes the terminal section, ``runs/<run>/summary.json`` and the file of ``--kina-bench-json``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina.errors import SettingsError

if TYPE_CHECKING:
    from pytest_kina.report.merge import Ledger
    from pytest_kina.report.summary import RunTimings
    from pytest_kina.timing import TimingRecorder

_ATTRIBUTE = "kina_events"


class TimingPlugin:
    """The hooks that carry, show and write timings; register one in every process, in ``pytest_configure``.

    ``TimingPlugin(recorder=…, run_directory=…, bench_json=…)``, all keyword-only:

    * ``recorder``: returns the recorder of this process, or None as long as nothing has used clusters here. Called
      after each test; must not start anything. This plugin sets its ``nodeid``, and is the only one to drain it.
    * ``run_directory``: returns ``<root>/runs/<run>``, or None when this run used no clusters. Called once, when the
      session ends, and only in the controller or the only process; the directory need not exist.
    * ``slow_threshold``: seconds from which an operation is listed; 0 for none.
    * ``in_worker``: whether this is an xdist worker, which hands its events over.
    * ``bench_json``: the path of ``--kina-bench-json`` or None. Registering the plugin raises
      :class:`pytest.UsageError` when it cannot be written.

    Whoever records events when the session ends (deleting clusters with TTL 0) does it in a plain
    ``pytest_sessionfinish``, ``trylast`` or not: the events are collected after all of these.
    """

    def __init__(
        self,
        *,
        recorder: Callable[[], TimingRecorder | None],
        run_directory: Callable[[], Path | None],
        bench_json: Path | None,
        slow_threshold: float = 0.0,
        in_worker: bool = False,
    ) -> None:
        self._recorder = recorder
        self._run_directory = run_directory
        self._bench_json = bench_json
        self._slow_threshold = slow_threshold
        self._in_worker = in_worker
        self._named = False  # did the recorder exist when the running test began?
        self._counted: Ledger | None = None
        self._incomplete: dict[str, None] = {}
        self._lines: list[str] = []
        self.more: dict[str, Any] = {}
        """What other parts of the plugin add to the benchmark file, under ``kina``; plain JSON types."""

    def timings(self) -> RunTimings:
        """Everything measured so far, for those who need it before the session ends here.

        In the xdist controller or the only process; it may be called again.
        """
        self._ledger.add_documents(self._drain())
        return self._timings(self._run_directory())

    def pytest_configure(self, config: pytest.Config) -> None:
        """Refuse a benchmark file that could not be written, before any test runs."""
        if self._bench_json is None or self._in_worker:
            return
        from pytest_kina.report.benchmark_json import check_writable

        self._bench_json = config.invocation_params.dir / self._bench_json
        try:
            check_writable(self._bench_json)
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let each event name the test during which it was measured."""
        self._named = self._name(item.nodeid)
        try:
            return (yield)
        finally:
            self._name("")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the events since the last report onto this one."""
        report = yield
        if events := self._drain("" if self._named else item.nodeid):
            setattr(report, _ATTRIBUTE, events)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the events off a report, wherever it comes from."""
        if documents := getattr(report, _ATTRIBUTE, None):
            self._ledger.add_documents(documents)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take the last events of an xdist worker, and note one that did not end well."""
        output = getattr(node, "workeroutput", None) or {}
        if documents := output.get(_ATTRIBUTE):
            self._ledger.add_documents(documents)
        if error:
            self._miss(f"xdist worker {node.gateway.id} ended early ({error})")

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run was cut short."""
        self._miss("the run was interrupted")

    def pytest_internalerror(self) -> None:
        """Note that the run broke off."""
        self._miss("pytest had an internal error")

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Collect what is left after all other plugins have finished, then hand over or write."""
        result = yield
        if self._in_worker:
            session.config.workeroutput[_ATTRIBUTE] = self._drain()  # type: ignore[attr-defined]
        else:
            if documents := self._drain():
                self._ledger.add_documents(documents)
            self._finish(session)
        return result

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the section; nothing when there were no events."""
        if self._lines:
            terminalreporter.section("kina timings")
            for line in self._lines:
                terminalreporter.write_line(line)

    def _finish(self, session: pytest.Session) -> None:
        directory = self._run_directory()
        if directory is None and self._bench_json is None and self._counted is None:
            return
        timings = self._timings(directory)
        self._lines = _shown(timings)
        if self._slow_threshold:
            from pytest_kina.report.slow import slow

            self._lines += slow(timings.events, self._slow_threshold)
        if directory is not None and directory.is_dir():
            self._keep(directory, timings)
        if self._bench_json is not None:
            self._write_benchmarks(self._bench_json, timings, session)

    def _timings(self, directory: Path | None) -> RunTimings:
        from pytest_kina.report import runs  # what only runs with clusters need is not paid for by the others
        from pytest_kina.report.summary import RunTimings

        if directory is not None:
            self._ledger.add(runs.spooled(directory))
        return RunTimings(
            run=directory.name if directory else "",
            events=self._ledger.events,
            late=runs.late(directory) if directory else (),
            incomplete=tuple(self._incomplete),
        )

    def _keep(self, directory: Path, timings: RunTimings) -> None:
        from pytest_kina.report import runs
        from pytest_kina.report.summary import write_summary

        try:
            if timings.events:
                self._lines.append(f"summary: {write_summary(directory, timings)}")
            runs.mark_shown(directory, [*timings.events, *timings.late])
            runs.prune(directory)
        except OSError as error:
            self._lines.append(f"the summary of this run could not be written to {directory}: {error}")

    def _write_benchmarks(self, path: Path, timings: RunTimings, session: pytest.Session) -> None:
        from pytest_kina.report.benchmark_json import write_benchmarks

        try:
            write_benchmarks(path, timings, session.config.rootpath, self.more)
            self._lines.append(f"benchmark data: {path}")
        except OSError as error:
            self._lines.append(f"--kina-bench-json: {path} could not be written: {error}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _drain(self, nodeid: str = "") -> list[dict[str, object]]:
        recorder = self._recorder()
        events = recorder.drain() if recorder else []
        if not events:
            return []
        from pytest_kina.report.merge import plain

        return plain(replace(event, nodeid=event.nodeid or nodeid) for event in events)

    @property
    def _ledger(self) -> Ledger:
        # Made with the first events: runs without clusters do not pay for it.
        if self._counted is None:
            from pytest_kina.report.merge import Ledger

            self._counted = Ledger()
        return self._counted

    def _name(self, nodeid: str) -> bool:
        if recorder := self._recorder():
            recorder.nodeid = nodeid
        return recorder is not None

    def _miss(self, why: str) -> None:
        self._incomplete[why] = None


def _shown(timings: RunTimings) -> list[str]:
    from pytest_kina.report.table import table

    lines = table(timings.events)
    if timings.late:
        lines += ["", "after earlier runs had ended:", *table(timings.late)]
    if lines:
        lines += [f"incomplete, events may be missing: {why}" for why in timings.incomplete]
    return lines
