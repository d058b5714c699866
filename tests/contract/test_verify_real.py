"""The command that examines a provider on the real tools of a machine, and its report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def verify(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``directory``."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KINA_HOME": str(directory / "home"), **environment}
    line = [sys.executable, "-m", "tests.contract.verify_real", *arguments]
    return subprocess.run(line, cwd=directory, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_report_has_every_check_and_the_phases(tmp_path: Path) -> None:
    """Each outcome, the machine, the timings; printed, and written where the user is."""
    done = verify(tmp_path, "pytest_kina.testing:FakeProvider", "--only", "test_claims or test_phases")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("kina-verification-*.md")
    report = path.read_text()
    assert report in done.stdout
    assert "| test_claims | passed |" in report
    assert "* kubernetes: v1.36.3" in report


def test_failed_checks_are_shown_whole(tmp_path: Path) -> None:
    """A provider without an API server: the check and its error."""
    done = verify(tmp_path, "pytest_kina.testing:FakeProvider", "--only", "test_create")
    assert done.returncode == 1
    assert "\n## test_create\n" in done.stdout
    assert "did not answer" in done.stdout


@pytest.mark.parametrize("provider", ["kina", "apple_k8s"])
def test_machine_without_the_tools_is_told_so(tmp_path: Path, provider: str) -> None:
    """One sentence, and no report."""
    done = verify(tmp_path, provider, PATH=str(tmp_path))
    assert done.returncode == 1
    assert f"{provider} cannot run here: Apple's `container` is not on PATH" in done.stderr
    assert not list(tmp_path.glob("*.md"))
