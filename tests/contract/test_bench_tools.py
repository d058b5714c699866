"""``pytest-kina bench`` over the tools of a simulated host, beside the real embedded control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cli import main
from pytest_kina.pool import open_root, records
from tests.contract.conftest import User

Bench = Callable[..., tuple[int, Any]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs the command in this process, in a root of its own: its code and its document."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "home"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["bench", "--json", *arguments])
        assert records.numbers(open_root(tmp_path / "home").slots) == []
        return code, json.loads(capsys.readouterr().out)

    return run


def test_tools_of_a_host_take_turns(user: User, bench: Bench) -> None:
    """Both tools, kina and kind, are asked in turns, each cluster is deleted before the next, and both are compared with kina."""
    code, document = bench("--providers=kina,kind", "--repeat=1", "--no-deployment")
    assert code == 0, document
    assert (document["base"], list(document["ratios"])) == ("kina", ["kind"])
    assert set(document["ratios"]["kind"]) == {"create", "startup", "kubectl_ready", "ready", "delete", "whole"}
    assert [one["turns"] for one in document["providers"]] == [2, 2]
    assert user.host.machines() == {}


@pytest.mark.real_control_plane
def test_real_control_plane_beside_tools_that_fail(user: User, bench: Bench) -> None:
    """Each Deployment becomes available on the real one; a simulated API has none, and is counted as failed."""
    code, document = bench("--providers=embedded,kind,k3d", "--repeat=1")
    assert code == 1
    real, *simulated = document["providers"]
    assert (real["failures"], real["left_out"]) == ([], "")
    phases = {name: one["median"] for name, one in real["phases"].items()}
    assert phases["whole"] == pytest.approx(phases["ready"] + phases["deployment"] + phases["delete"])
    assert phases["deployment"] > 0
    for one in simulated:
        assert len(one["failures"]) == 2
        assert "deployment" not in one["phases"]
        assert len(one["phases"]["delete"]["seconds"]) == 1
    assert user.host.machines() == {}
