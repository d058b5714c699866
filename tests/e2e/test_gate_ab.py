"""`pytest-kina ab` on real control planes: two sides in turns, one of which is slower."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_kina.cli import main
from pytest_kina.settings import for_command

pytestmark = [pytest.mark.real_control_plane, pytest.mark.timeout(600)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository whose default cluster is the smallest there is."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[tool.kina]\nprofile = "api"\nsimulated_nodes = 0\n')
    for line in ("init -q .", "add .", "-c user.name=a -c user.email=a@b commit -q -m one"):
        subprocess.run(["git", *line.split()], cwd=project, check=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "home"))
    return project


def _slow_assets(directory: Path) -> Path:
    """The binaries of this machine, with an API server that takes two seconds longer to start."""
    directory.mkdir()
    for source in sorted(path for folder in for_command({}, directory).assets for path in folder.iterdir()):
        target = directory / source.name
        if source.name == "kube-apiserver":
            target.write_text(f'#!/bin/sh\ncase "$*" in *--version*) ;; *) sleep 4 ;; esac\nexec {source} "$@"\n')
            target.chmod(0o755)
        elif not target.exists():
            target.symlink_to(source)
    return directory


def test_a_slower_api_server_is_seen_and_nothing_is_left(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """B takes four seconds longer to start: exit code 1 names the series, and no cluster or worktree stays."""
    if not for_command({}, tmp_path).assets:
        pytest.skip("KINA_ASSETS does not name the binaries")
    slow = _slow_assets(tmp_path / "slow")
    code = main(["ab", "--base", "HEAD", "--rounds", "5", "--head-env", f"KINA_ASSETS={slow}", "--json"])
    found = json.loads(capsys.readouterr().out)
    slower = {one["series"].partition("[")[0] for one in found["series"] if one["slower"]}
    assert code == 1
    assert "kina::ready" in slower
    assert "kina::delete" not in slower
    assert all(len(one[side]["seconds"]) == 5 for one in found["series"] for side in "ab")
    assert list((tmp_path / "home" / "clusters").iterdir()) == []
    trees = subprocess.run(["git", "worktree", "list"], cwd=project, check=True, capture_output=True, text=True)
    assert len(trees.stdout.splitlines()) == 1


def test_a_side_that_cannot_start_is_no_data(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When a cycle fails there is nothing to compare: exit code 2 and the reason of the cycle."""
    (project / "pyproject.toml").write_text('[tool.kina]\nprofile = "nonsense"\n')
    assert main(["ab", "--base", "HEAD", "--rounds", "5"]) == 2
    error = capsys.readouterr().err
    assert "a cycle of B" in error
    assert "nonsense" in error
