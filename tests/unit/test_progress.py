"""Progress files."""

from pathlib import Path

import pytest

from pytest_kina.progress import ProgressFile, current, silent


def test_latest_step_of_each_process_is_shown(tmp_path: Path) -> None:
    """Each process shows one step, its latest; a process that is done shows none."""
    first, second = ProgressFile(tmp_path, "gw0"), ProgressFile(tmp_path, "gw1")
    first("downloading etcd", 1, 3)
    second("waiting for gw0")
    first("building kwok", 2, 3)
    assert [(step["who"], step["what"], step["step"], step["steps"]) for step in current(tmp_path)] == [
        ("gw1", "waiting for gw0", 0, 0),
        ("gw0", "building kwok", 2, 3),
    ]
    first.done()
    first.done()
    assert [step["who"] for step in current(tmp_path)] == ["gw1"]


def test_silent_progress_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody needs to watch."""
    silent("x", 1, 2)
    assert capfd.readouterr() == ("", "")
