"""The composite action: every option that it sets exists, and its script passes pytest's exit code on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_kina.options import OPTIONS

ACTION = Path(__file__).parents[2] / ".github" / "actions" / "kina-gate" / "action.yml"


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    """The parsed file."""
    document: dict[str, Any] = yaml.safe_load(ACTION.read_text())
    return document


def _steps(action: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in action["runs"]["steps"]}


def test_it_sets_options_that_exist(action: dict[str, Any]) -> None:
    """A renamed option would otherwise be ignored without a word."""
    known = {option.variable for option in OPTIONS}
    set_here = {name for name in _steps(action)["Run pytest with the gate"]["env"] if name.startswith("KINA_")}
    assert set_here
    assert set_here <= known


def test_every_input_is_used_and_every_use_is_an_input(action: dict[str, Any]) -> None:
    """Inputs are declared, and none is without effect."""
    text = ACTION.read_text()
    used = {word.partition(" ")[0].strip("}!='") for word in text.split("inputs.")[1:]}
    assert used == set(action["inputs"])


def test_pull_requests_read_and_the_default_branch_writes(action: dict[str, Any]) -> None:
    """Restoring is unconditional and comes first; saving has the condition and comes after the run."""
    steps = _steps(action)
    names = list(steps)
    assert (
        names.index("Restore the history") < names.index("Run pytest with the gate") < names.index("Save the history")
    )
    assert "if" not in steps["Restore the history"]
    assert "default_branch" in steps["Save the history"]["if"]
    assert steps["Restore the history"]["with"]["path"] == steps["Save the history"]["with"]["path"]


@pytest.mark.parametrize("code", [0, 1, 5])
def test_its_scripts_run(action: dict[str, Any], tmp_path: Path, code: int) -> None:
    """The arguments reach pytest as words, the later steps run whatever came out, and the last one passes it on."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > arguments\nexit {code}\n')
    python.chmod(0o755)
    output = tmp_path / "output"
    environment = {**os.environ, "PYTHON": str(python), "PYTEST_ARGS": "-n 2 tests", "GITHUB_OUTPUT": str(output)}
    steps = _steps(action)
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    first = subprocess.run(
        [*bash, steps["Run pytest with the gate"]["run"]], cwd=tmp_path, env=environment, check=False
    )
    assert first.returncode == 0
    assert output.read_text() == f"code={code}\n"
    assert (tmp_path / "arguments").read_text().split() == ["-m", "pytest", "-n", "2", "tests"]
    last = subprocess.run(
        [*bash, steps["Pass on the exit code"]["run"]], env={**os.environ, "CODE": str(code)}, check=False
    )
    assert last.returncode == code
