"""Carries what was tried again to the terminal: on reports, and in the last message of an xdist worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from pytest_kina.retries import drain

_ATTRIBUTE = "kina_retries"


class RetriesPlugin:
    """The hooks that carry and show retries; register one in every process."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put what was tried again since the last report onto this one."""
        report = yield
        if sentences := drain():
            setattr(report, _ATTRIBUTE, sentences)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take it off a report, wherever that comes from."""
        self._seen.update(getattr(report, _ATTRIBUTE, ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what an xdist worker tried again after its last report."""
        self._seen.update((getattr(node, "workeroutput", None) or {}).get(_ATTRIBUTE, ()))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Hand over, or keep, what was tried again after the last report."""
        result = yield
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output[_ATTRIBUTE] = drain()
        else:
            self._seen.update(drain())
        return result

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the section; nothing when nothing was tried again."""
        if self._seen:
            terminalreporter.section("kina: tried again")
            for sentence, times in self._seen.items():
                terminalreporter.write_line(sentence if times == 1 else f"{sentence} ({times} times)")
