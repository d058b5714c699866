"""Whole pytest runs with clusters that are files, and what they leave behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.timing import TimingEvent, read_spool

Run = Callable[..., pytest.RunResult]
COMMON = (
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "-W",
    "error",
    "--kina-provider=pytest_kina.testing:FakeProvider",
)
_FOUR_TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_it(kina_cluster, number):
        pass
"""


class Home:
    """The root of the runs of one test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[TimingEvent]:
        """What all processes of all runs have spooled."""
        return [event for path in sorted(self.path.glob("runs/*/*.jsonl")) for event in read_spool(path)]

    def summary(self) -> dict[str, Any]:
        """The one summary that was written."""
        (path,) = self.path.glob("runs/*/summary.json")
        document: dict[str, Any] = json.loads(path.read_text())
        return document


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A root that does not exist yet; no setting of the machine or of the outer run reaches the inner one."""
    for name in [name for name in os.environ if name.startswith(("KINA_", "PYTEST_XDIST_"))] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def run(pytester: pytest.Pytester, home: Home) -> Run:
    """Runs pytest in a child process on the files of ``pytester``."""

    def start(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*COMMON, *arguments, timeout=60)

    return start


@pytest.fixture
def four_tests(pytester: pytest.Pytester) -> None:
    """A project with four tests that share a cluster."""
    pytester.makepyfile(_FOUR_TESTS)
