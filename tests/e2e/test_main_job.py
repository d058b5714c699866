"""The main job, end to end: pytest runs as a user starts them, a real control plane, and what is left afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_kina.timing import Phase
from tests.support.runs import Home, finish, write_project

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.real_control_plane

ONE_TEST = """
def test_it(kina_namespace):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    assert kina_namespace.get("configmap/a")["metadata"]["name"] == "a"
"""

API_TEST = """
import pytest

pytestmark = pytest.mark.kina_cluster(profile="api")

@pytest.mark.parametrize("number", range(4))
def test_it(kina_cluster, kina_namespace, number):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    assert [item["metadata"]["name"] for item in kina_namespace.list("configmaps")] == ["a"]
"""

MARKING_TEST = """
import os
import pytest

pytestmark = pytest.mark.kina_cluster(profile="api")

@pytest.mark.parametrize("number", range(4))
def test_it(kina_cluster, number):
    mine = f"run-{os.environ['RUN']}"
    kina_cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": mine, "namespace": "default"}}
    )
    names = [item["metadata"]["name"] for item in kina_cluster.list("configmaps", namespace="default")]
    assert [name for name in names if name.startswith("run-")] == [mine]
"""


def test_examples_share_one_cluster_that_ci_deletes(home: Home) -> None:
    """With four xdist workers all examples share one default cluster; in CI it is deleted, and that is timed."""
    shutil.copytree(EXAMPLES, home.project / "examples", ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    temporary = home.project / "tmp"
    temporary.mkdir()
    run = home.run("examples", "-n", "4", ci=True, TMPDIR=str(temporary))
    assert run.returncode == 0, run.output
    # The operator of the examples is killed, and its client has copies of certificates.
    assert [path.name for path in temporary.iterdir() if not path.name.startswith("pytest-of-")] == []
    default = [event for event in home.events(Phase.CREATE) if event.kubernetes.startswith("v1.36.")]
    assert len(default) == 1
    assert default[0].cluster in {event.cluster for event in home.events(Phase.DELETE) if event.ok}
    assert "delete" in run.output
    home.assert_nothing_left()


def test_cluster_stays_warm_and_clean_between_runs(home: Home) -> None:
    """Outside CI the cluster is reset in the background after the run, serves the next run, and goes after its TTL."""
    write_project(home.project, {"test_it.py": ONE_TEST})
    first = home.run("-n", "2", KINA_TTL="10m")
    assert first.returncode == 0, first.output
    home.wait_until(lambda: home.records()[0]["state"] == "READY", 30, "reset in the background")
    second = home.run(KINA_TTL="1s")  # the TTL is the last user's
    assert second.returncode == 0, second.output
    assert len(home.events(Phase.CREATE)) == 1
    assert [event.start for event in home.events(Phase.LEASE_WAIT)][-1] == "reused"
    in_tests = {"main", "gw0", "gw1"}
    assert [event for event in home.events(Phase.RESET) if event.worker in in_tests] == [], "nobody waited for a reset"

    home.wait_until(lambda: not home.records() and not home.processes(), 60, "evicted after its TTL")
    home.assert_nothing_left()


@pytest.mark.parametrize("second", ["same", "other"])
def test_two_runs_at_once_never_share_a_cluster(home: Home, tmp_path: Path, second: str) -> None:
    """Simultaneous runs, with equal or different specs, never see each other's objects and keep to the capacity."""
    other = MARKING_TEST.replace('profile="api"', 'profile="api", feature_gates={"WatchList": False}')
    two = MARKING_TEST if second == "same" else other
    write_project(home.project, {"one/test_it.py": MARKING_TEST, "two/test_it.py": two})
    # Each test writes first and looks then: of two runs in one cluster, at least one sees the mark of the other.
    runs = [home.start("-n", "2", name, KINA_POOL_SIZE="2", ci=True, RUN=name) for name in ("one", "two")]
    for run in map(finish, runs):
        assert run.returncode == 0, run.output
        assert run.outcomes["passed"] == 4
    used = {(event.run, event.cluster) for event in home.events(Phase.LEASE_WAIT)}
    assert len({run for run, _ in used}) == 2
    # A cluster of the first run may serve the second after a reset, but then as another life of it: never at once.
    assert len(home.events(Phase.CREATE)) + len(home.events(Phase.RESET)) >= 2
    assert {cluster.split("-")[2] for _, cluster in used} <= {"0", "1"}
    home.assert_nothing_left()


def test_kubeconfig_of_the_user_is_never_read(home: Home, tmp_path: Path) -> None:
    """A ``KUBECONFIG`` that points to production is neither read nor changed."""
    production = tmp_path / "production"
    production.write_text("this is not a kubeconfig: reading it would fail")
    run = write_project(home.project, {"test_it.py": API_TEST}) and home.run(ci=True, KUBECONFIG=str(production))
    assert run.returncode == 0, run.output
    assert production.read_text().startswith("this is not a kubeconfig")
    home.assert_nothing_left()


def test_failing_test_explains_itself_and_leaves_nothing(home: Home) -> None:
    """The report of a failed test has the events and pods of its namespace; the run still deletes its cluster."""
    failing = """
    def test_never_scheduled(kina_namespace):
        kina_namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lonely"}, "spec": {
            "nodeSelector": {"no": "such-node"}, "containers": [{"name": "c", "image": "example.com/c:1"}]}})
        kina_namespace.wait("pod/lonely", condition="Ready", timeout=3)
    """
    import textwrap

    write_project(home.project, {"test_it.py": textwrap.dedent(failing)})
    run = home.run(ci=True)
    assert run.returncode == 1
    assert "WaitTimeoutError" in run.output
    assert "FailedScheduling" in run.output
    assert "kube-scheduler" in run.output
    home.assert_nothing_left()


def test_a_cluster_that_dies_is_explained_and_replaced(home: Home) -> None:
    """The test during which a component dies says which one and how; the tests after it get another cluster."""
    source = """
import json, os, signal, time

def test_first(kina_cluster, kina_namespace):
    mark = f"KINA_CLUSTER={kina_cluster.name}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line, environ = open(f"/proc/{pid}/cmdline", "rb").read(), open(f"/proc/{pid}/environ", "rb").read()
        except OSError:
            continue
        if b"kube-controller-manager" in line.split(b"\\0")[0] and mark in environ:
            os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not (kina_cluster.directory / "died.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

def test_second(kina_namespace):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

def test_third(kina_namespace):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
"""
    write_project(home.project, {"test_it.py": source})
    run = home.run("--tb=short", ci=True, KINA_GATE_BUDGET="0")
    assert dict(run.outcomes) == {"failed": 1, "passed": 2}, run.output
    assert "THIS CLUSTER HAS DIED: " in run.output
    assert "kube-controller-manager" in run.output.partition("THIS CLUSTER HAS DIED: ")[2].splitlines()[0]
    assert len(home.events(Phase.CREATE)) == 2
    home.assert_nothing_left()
