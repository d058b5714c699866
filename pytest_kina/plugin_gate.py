"""The gate in a pytest run: examines the run before others save it, decides the exit status, and says so last.

In the xdist controller or the only process. Exit status 1 replaces 0 only: what is worse than a slow cluster keeps its
code. Nothing here raises into the session; an error of the gate's own fails the run in mode ``fail`` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina.errors import KinaError
from pytest_kina.run import Run

if TYPE_CHECKING:
    from pytest_kina.alerts import Alert, Rule
    from pytest_kina.examination import Outcome, Session
    from pytest_kina.gate import Judgement
    from pytest_kina.plugin_timings import TimingPlugin

STORE = ".kina-bench"
_SELECTING = ("-k", "-m", "--lf", "--last-failed", "--deselect", "--ignore", "--sw", "--stepwise", "--kina-plan")


class GatePlugin:
    """The hooks of the gate and of everything that is published from its judgement.

    ``settle`` lets the end of the run happen as far as it is timed; ``timings`` is the part that collects events;
    ``rules`` are the project's alerts.
    """

    def __init__(self, run: Run, *, settle: Callable[[], None], timings: TimingPlugin, rules: Sequence[Rule]) -> None:
        self._run = run
        self._mode = run.settings.gate
        self._settle = settle
        self._timings = timings
        self._rules = rules
        self._lines: list[str] = []
        self._alarms: list[str] = []
        self._annotations: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Examine the run, before JUnit, pytest-benchmark and our own files are written."""
        if self._run.used:
            try:
                self._finish(session)
            except Exception as error:  # the gate must not turn passed tests into an internal error
                self._lines.append(f"the gate broke off: {type(error).__name__}: {error}")
                self._fail(session, self._mode == "fail")
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, object, object]:
        """Say it after everybody else: pytest's own last line still counts passed tests only.

        Also when somebody raises here, as pytest-benchmark does when its own comparison fails.
        """
        try:
            return (yield)
        finally:
            self._say(terminalreporter)

    def _say(self, terminalreporter: Any) -> None:
        if self._lines or self._alarms:
            terminalreporter.section("kina gate", sep="=", **({"red": True} if self._alarms else {}))
            for line in self._lines:
                terminalreporter.write_line(line)
            for line in self._alarms:
                terminalreporter.write_line(line, red=True, bold=True)
        for line in self._annotations:
            terminalreporter.ensure_newline()
            terminalreporter.write_line(line)

    def _finish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK:
            self._settle()
        timings = self._timings.timings()
        if not timings.events:
            return
        alerts: list[Alert] = []
        if self._mode != "off":
            timings = self._gate(session).timings
        from pytest_kina.alerts import broken
        from pytest_kina.report.series import comparable

        if self._rules:
            alerts = broken(self._rules, comparable(timings.events))
        for alert in alerts:
            session.config.hook.pytest_kina_alert(config=session.config, alert=alert)
        self._lines += [f"alert ({alert.rule.action}): {alert}" for alert in alerts]
        self._fail(session, any(alert.fails for alert in alerts))

    def _gate(self, session: pytest.Session) -> Outcome:
        from pytest_kina import gate, publishing
        from pytest_kina.examination import Examination

        outcome = Examination(self._run, _session(session, self._run), self._timings.timings).outcome()
        judged = outcome.judgement
        self._timings.more.update(
            partial=outcome.document["kina"]["partial"],
            verdicts=[verdict.to_json() for verdict in judged.verdicts],
            metrics=[metric.to_json() for metric in outcome.metrics],
            notes=[*judged.notes, *outcome.said],
        )
        *rows, last = gate.lines(judged, self._mode)
        warnings = [f"warning: {one.name}: {one.reason}" for one in outcome.findings if one.over and not one.grave]
        lines = [*rows, *warnings, *outcome.said]
        failed = gate.exit_code(judged, self._mode) != 0
        if outcome.unstored and self._mode == "fail" and not failed:
            failed, last = True, f"gate FAILED: the run could not be stored; {last}"
        if failed:
            self._alarms.append(last)
        elif self._mode == "fail":
            self._alarms += _blind(judged)
        if failed or not _quiet(outcome, self._mode):
            self._lines += lines if failed else [*lines, last]
        self._fail(session, failed)
        self._annotations = publishing.publish(
            outcome, self._run.settings, os.environ, session.config.invocation_params.dir
        )
        _to_junit(session.config, publishing.properties(judged))
        return outcome

    def _fail(self, session: pytest.Session, failed: bool) -> None:
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def rules_of(run: Run) -> tuple[Rule, ...]:
    """The project's alerts. Raises :class:`pytest.UsageError`."""
    project = run.settings.project
    if not project.alerts:
        return ()
    from pytest_kina.alerts import rules

    try:
        return rules(project.alerts, f"[[tool.kina.alerts]] in {project.path}")
    except KinaError as error:
        raise pytest.UsageError(str(error)) from error


def _session(session: pytest.Session, run: Run) -> Session:
    from pytest_kina.examination import Session

    settings, config = run.settings, session.config
    store = settings.gate_store or config.rootpath / STORE
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false", "no", "off")
    return Session(
        project=config.rootpath,
        store=config.invocation_params.dir / store,
        green=session.exitstatus == pytest.ExitCode.OK,
        partial=tuple(_partial(session)),
        keeps=in_ci or settings.gate == "fail" or settings.gate_store is not None,
    )


def _partial(session: pytest.Session) -> list[str]:
    """Why this run may lack series that others have: it was asked for some of its tests only, or ended early."""
    config = session.config
    asked = [str(argument) for argument in config.invocation_params.args]
    found = [argument for argument in asked if argument.startswith(_SELECTING) and not argument.startswith("--max")]
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        found += [argument for argument in config.args if argument in asked]
    stopped = session.shouldstop or session.shouldfail
    return [*dict.fromkeys(found), *([f"stopped: {stopped}"] if stopped else [])]


def _blind(judged: Judgement) -> list[str]:
    """What a gate that is relied upon could not see."""
    few = ", ".join(judged.blind)
    return [f"gate: TOO FEW samples, a regression of these would pass: {few}"] if few else []


def _quiet(outcome: Outcome, mode: str) -> bool:
    """Nothing to say without being asked: no history, and nothing that fails."""
    nothing_new = not outcome.history.runs and not outcome.history.problems and not outcome.judgement.failed
    return mode == "warn" and nothing_new and not any("history:" in line for line in outcome.said)


def _to_junit(config: pytest.Config, properties: Sequence[tuple[str, str]]) -> None:
    """Properties of the test suite in pytest's JUnit file (private API of pytest: without it, none)."""
    try:
        from _pytest.junitxml import xml_key

        report = config.stash.get(xml_key, None)
        for name, value in properties if report is not None else ():
            report.add_global_property(name, value)  # type: ignore[union-attr]
    except (ImportError, AttributeError, TypeError):
        return
