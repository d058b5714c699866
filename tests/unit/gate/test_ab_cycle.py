"""The cycle that `pytest-kina ab` compares, as the process that it is, with the fake provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pytest_kina import _cycle

PROJECT = """
[tool.kina]
provider = "pytest_kina.testing:FakeProvider"
ttl = "15m"
"""


def cycle(place: Path, project: str) -> subprocess.CompletedProcess[str]:
    """One cycle of a project, with a root of its own."""
    (place / "pyproject.toml").write_text(project)
    argv = [sys.executable, "-P", _cycle.__file__]
    env = os.environ | {"PYTHONPATH": str(Path(_cycle.__file__).parents[1]), "KINA_HOME": str(place / "home")}
    return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, check=False)


def test_a_cycle_prints_its_timings_and_leaves_no_cluster(tmp_path: Path) -> None:
    """One cluster is made, ready and deleted, whatever time to live the project gives its clusters."""
    done = cycle(tmp_path, PROJECT)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    names = {benchmark["name"].partition("[")[0] for benchmark in json.loads(line)["benchmarks"]}
    assert {"kina.create", "kina.ready", "kina.delete"} <= names
    assert list((tmp_path / "home" / "clusters").iterdir()) == []


def test_a_cycle_that_fails_says_why_and_prints_no_timings(tmp_path: Path) -> None:
    """Half a document would be compared with a whole one."""
    done = cycle(tmp_path, PROJECT + 'version = "1.99"\n')
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "no Kubernetes 1.99" in done.stderr
