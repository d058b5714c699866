"""A machine without free ports: the real control plane cannot start, says why, and leaves nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support import few_ports
from tests.support.runs import Home, finish, write_project

pytestmark = [
    pytest.mark.real_control_plane,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network name space of one's own needs root, as CI has it"),
]

PROJECT = {
    "test_it.py": """
import pytest

@pytest.mark.kina_cluster(profile="api")
def test_it(kina_cluster): pass
"""
}


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        (1, "step: the API server answers TLS: not reached within 10 s"),  # it has one, and nobody can connect to it
        (0, "could not be started: no port could be reserved"),
    ],
)
def test_port_exhaustion_is_named_and_leaves_nothing(tmp_path: Path, assets: str, ports: int, said: str) -> None:
    """However far the start gets with too few ports: the error names them, shows each log once, and nothing is left."""
    home = Home(root=tmp_path / "home", project=write_project(tmp_path / "project", PROJECT), assets=assets)
    environment = {"KINA_START_TIMEOUT": "10s", "KINA_TTL": "0", "KINA_GATE": "off", "KINA_OFFLINE": "true"}
    through = ["unshare", "--net", sys.executable, few_ports.__file__, str(ports)]
    ended = finish(home.start("-p", "no:xdist", through=through, **environment))
    assert ended.outcomes == {"error": 1}
    assert "NotReadyError" in ended.output
    assert said in ended.output
    advice = next(line for line in ended.output.splitlines() if "Next step: " in line)
    assert "ports" in advice
    for log in ("etcd", "kube-apiserver"):
        assert ended.output.count(f"last lines of {log}") <= 1
    home.assert_nothing_left()
