"""``python -m tests.contract.record``: run the conformance suites of all providers, and keep what came of each check.

With names of providers (``... record kind k3d``) only theirs; what is known of the others stays. Words that begin with a
dash go to pytest. The result is ``conformance.json`` beside this file, from which ``tests.contract.tables`` makes the
matrix of docs/providers.md.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DATA = HERE / "conformance.json"
REAL, SIMULATED = "real control planes", "tools simulated to their contract"


@dataclass(frozen=True, slots=True)
class Suite:
    """Which test class examines a provider, and against what."""

    module: str
    name: str
    against: str

    @property
    def node(self) -> str:
        """The class as pytest takes it."""
        return f"{HERE / self.module}::{self.name}"


_CONTAINERS = "test_conformance_containers.py"
SUITES = {
    "embedded": Suite("test_conformance_embedded.py", "TestApi", REAL),
    "apple_k8s": Suite(_CONTAINERS, "TestAppleK8s", SIMULATED),
    "external": Suite("test_conformance_external.py", "TestExternal", REAL),
    "kina": Suite(_CONTAINERS, "TestKina", SIMULATED),
    "kind": Suite(_CONTAINERS, "TestKind", SIMULATED),
    "k3d": Suite(_CONTAINERS, "TestK3d", SIMULATED),
}
_OWNERS = {(suite.module, suite.name): provider for provider, suite in SUITES.items()}


@dataclass(slots=True)
class Recorder:
    """What came of each check, by provider and check; a pytest plugin, also for xdist's controller."""

    outcomes: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of set-up and teardown only what did not pass counts, and a failure is never taken back."""
        path, suite, check = report.nodeid.split("::")
        provider = _OWNERS.get((path.rpartition("/")[2], suite))
        if provider is None or (report.when != "call" and report.passed):
            return
        known = self.outcomes.setdefault(provider, {})
        if known.get(check, {}).get("outcome") != "failed":
            known[check] = {"outcome": report.outcome, "why": _reason(report)}


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext.strip().splitlines()[-1] if report.failed and report.longreprtext else ""


def merged(known: dict[str, Any], outcomes: dict[str, dict[str, dict[str, str]]]) -> dict[str, Any]:
    """``known`` with the providers that were examined now in place of what was known of them."""
    from pytest_kina import __version__  # not before pytest has rewritten its assertions

    about = {
        "version": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    providers = dict(known.get("providers", {}))
    for provider, checks in outcomes.items():
        providers[provider] = about | {"against": SUITES[provider].against, "checks": dict(sorted(checks.items()))}
    return {"schema": 1, "providers": providers}


def main(words: Sequence[str]) -> int:
    """Run, and write. pytest's exit code: what failed is written, too, and stands in the matrix."""
    chosen = [word for word in words if not word.startswith("-")] or list(SUITES)
    if unknown := sorted(set(chosen) - set(SUITES)):
        print(f"no suite for {', '.join(unknown)}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    recorder = Recorder()
    flags = ["-q", "-m", "", *(word for word in words if word.startswith("-"))]
    code = int(pytest.main([*flags, *(SUITES[provider].node for provider in chosen)], plugins=[recorder]))
    known = json.loads(DATA.read_text()) if DATA.exists() else {}
    DATA.write_text(json.dumps(merged(known, recorder.outcomes), indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
