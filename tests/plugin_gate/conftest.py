"""Whole pytest runs with clusters that are files: every sample that the gate and pytest-benchmark see is measured."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.timing import Phase, TimingEvent, read_spool

_COMMON = ("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error", "--kina-pool-size=4")
_FAKE = "--kina-provider=pytest_kina.testing:FakeProvider"
_FOUR_TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_it(kina_cluster, number):
        pass
"""


class Project:
    """A project with a root of its own, and the fake provider at the speed that a test orders."""

    def __init__(self, pytester: pytest.Pytester, home: Path, orders: Path) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.home = home
        self._orders = orders
        self.order()

    def order(self, **delays: float) -> None:
        """How long the phases of the provider take from now on, in seconds."""
        self._orders.write_text(json.dumps({"delays": delays}))

    def run(self, *arguments: str, provider: str = _FAKE) -> pytest.RunResult:
        """Run pytest in a child process."""
        return self.pytester.runpytest_subprocess(*_COMMON, provider, *arguments, timeout=120)

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file of the project."""
        document: dict[str, Any] = json.loads((self.path / name).read_text())
        return document

    def events(self, phase: Phase) -> list[TimingEvent]:
        """The timing events of all runs."""
        found = [event for path in self.home.glob("runs/*/*.jsonl") for event in read_spool(path)]
        return [event for event in found if event.phase is phase]

    def history(self) -> list[dict[str, Any]]:
        """The runs in the default store, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.path.glob(".kina-bench/*/*.json"))]


@pytest.fixture
def project(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Four tests that share a cluster; nothing of the machine, the outer run or GitHub reaches the inner run."""
    foreign = ("KINA_", "PYTEST_XDIST_", "GITHUB_", "RUNNER_")
    for name in [name for name in os.environ if name.startswith(foreign)] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("KINA_HOME", str(outside / "home"))
    monkeypatch.setenv("KINA_FAKE", str(outside / "fake.json"))
    pytester.makepyfile(_FOUR_TESTS)
    return Project(pytester, outside / "home", outside / "fake.json")
