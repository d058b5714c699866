"""Whole pytest runs with ``--kina-provider=kina`` on a simulated host: machines that stop, runs that are killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from pytest_kina.timing import Phase
from tests.contract.conftest import User
from tests.support.runs import Home, write_project

PROVIDER = "--kina-provider=kina"


@pytest.fixture
def home(user: User, tmp_path: Path) -> Home:
    """A project and a root on the user's host."""
    project = write_project(tmp_path / "project", {"test_it.py": "def test_it(kina_cluster): pass\n"})
    return Home(root=tmp_path / "home", project=project, assets="", environment=user.host.environment())


def test_stopped_machine_is_replaced_for_the_next_test(user: User, home: Home) -> None:
    """The test that met it fails with the reason; the next one has another cluster."""
    body = """
import subprocess

names = []

def test_first(kina_cluster):
    names.append(kina_cluster.name)
    subprocess.run(["container", "stop", f"{kina_cluster.name}-control-plane"], check=True)
    raise AssertionError

def test_second(kina_cluster):
    assert kina_cluster.name not in names
"""
    write_project(home.project, {"test_it.py": body})
    done = home.run(PROVIDER, ci=True)
    assert (done.outcomes["failed"], done.outcomes["passed"]) == (1, 1)
    assert "THIS CLUSTER HAS DIED: its node" in done.output
    assert user.host.machines() == {}
    home.assert_nothing_left()


def test_used_cluster_goes_with_its_run_whatever_the_time_to_live(user: User, home: Home) -> None:
    """It cannot be reset, so nobody would ever use it again."""
    done = home.run(PROVIDER, "--kina-ttl=15m")
    assert done.outcomes["passed"] == 1, done.output
    assert len(home.events(Phase.DELETE)) == 1
    assert user.host.machines() == {}
    home.assert_nothing_left()


def test_leftover_of_a_killed_run_is_removed_by_the_next(user: User, home: Home) -> None:
    """SIGKILL while kubeadm works: the machine stays, and the next run finds and deletes it."""
    user.host.inject(**{"kubeadm init": {"seconds": 8, "times": 1}})
    process = home.start(PROVIDER, ci=True)
    deadline = time.monotonic() + 60
    while "C7" not in user.host.rows():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (left,) = user.host.machines()
    done = home.run(PROVIDER, ci=True)
    assert done.outcomes["passed"] == 1, done.output
    assert left not in user.host.machines()
    assert user.host.machines() == {}
    home.assert_nothing_left()


def test_broken_tool_is_one_error_with_the_next_step(user: User, home: Home) -> None:
    """The service is down: the test errs at once, saying what to run."""
    user.host.set(daemon=False)
    done = home.run(PROVIDER, ci=True)
    assert done.outcomes["error"] == 1 or done.outcomes["errors"] == 1, done.output
    assert "run `container system start`" in done.output
