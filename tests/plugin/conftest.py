"""pytest runs with the fake provider: whole and real, except that a cluster is a file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.testing import read_calls
from pytest_kina.timing import Phase, TimingEvent, read_spool

FAKE = "--kina-provider=pytest_kina.testing:FakeProvider"

# Plugins of this repository's own tests, which take longer to load than the runs take.
_FOREIGN = [word for name in ("randomly", "hypothesispytest", "benchmark") for word in ("-p", f"no:{name}")]


class Project:
    """A project to run pytest in, with a root of its own and the fake provider."""

    def __init__(self, pytester: pytest.Pytester, home: Path, fake: Path) -> None:
        self.pytester = pytester
        self.home = home
        self._fake = fake
        self.order()

    def order(self, **orders: Any) -> None:
        """What the fake provider does from now on: ``delays`` and ``failures``."""
        self._fake.write_text(json.dumps(orders))

    def write(self, **modules: str) -> None:
        """Write test modules; ``test_a="..."`` is ``test_a.py``."""
        self.pytester.makepyfile(**modules)

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process: quick, without xdist."""
        return self.pytester.runpytest_inprocess(*_FOREIGN, "-p", "no:xdist", FAKE, *arguments)

    def run_apart(self, *arguments: str, provider: str = FAKE) -> pytest.RunResult:
        """Run pytest in processes of its own, as users do."""
        return self.pytester.runpytest_subprocess(*_FOREIGN, provider, *arguments, timeout=120)

    def calls(self) -> Counter[str]:
        """How often the provider was asked to do what."""
        return Counter(call["action"] for call in read_calls(self._fake.with_name(f"{self._fake.name}.calls")))

    def events(self, phase: Phase) -> list[TimingEvent]:
        """The timing events of all runs."""
        found = [event for path in self.home.glob("runs/*/*.jsonl") for event in read_spool(path)]
        return [event for event in found if event.phase is phase]

    def leases(self) -> Counter[str]:
        """How many leases each process of the runs took."""
        return Counter(event.worker for event in self.events(Phase.LEASE_WAIT))

    def records(self) -> list[Mapping[str, Any]]:
        """The records of the slots that are not empty."""
        return [json.loads(path.read_text()) for path in sorted(self.home.glob("slots/*.json"))]


@pytest.fixture
def project(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """An empty project."""
    place = tmp_path_factory.mktemp("kina")
    # Each run imports the plugin anew, and byte-code is neither read from nor written into the checkout.
    bytecode = str(tmp_path_factory.getbasetemp() / "bytecode")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", bytecode)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", bytecode)
    monkeypatch.setenv("KINA_HOME", str(place / "home"))
    monkeypatch.setenv("KINA_FAKE", str(place / "fake.json"))
    monkeypatch.setenv("KINA_POOL_SIZE", "4")  # the same on every machine
    return Project(pytester, place / "home", place / "fake.json")
