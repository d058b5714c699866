"""Loads on a real API server, made by the fixture and by the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.errors import Conflict
from pytest_kina.load import Load, LoadPlan
from pytest_kina.process import run_command
from pytest_kina.progress import silent
from pytest_kina.spec import ClusterSpec
from tests.e2e.conftest import embedded_cluster
from tests.support.runs import Home, write_project

pytestmark = pytest.mark.real_control_plane

FIXTURE = """
def test_load(kina_cluster, kina_load):
    result = kina_load(name="here", pods=30, deployments=2, replicas=5, custom_resources=5, churn=50, seconds=1)
    assert (result.failed, result.ready_seconds > 0) == (0, True)
    assert len(kina_cluster.list("pods", selector="pytest-kina/load=here")) == 40
    assert len(kina_cluster.list("loadobjects")) == 5

def test_gone(kina_cluster):
    kina_cluster.wait("namespace/here-0", deleted=True, timeout=60)
    kina_cluster.wait("crd/loadobjects.here.load.pytest-kina.io", deleted=True, timeout=60)
"""


def test_every_kind_is_made_changed_and_removed(real_cluster: Cluster) -> None:
    """The server has as many objects of each kind as planned, before and after the churn; then nothing is left."""
    plan = LoadPlan(
        name="all",
        namespaces=2,
        deployments=3,
        replicas=4,
        pods=20,
        config_maps=20,
        events=10,
        custom_resources=10,
        churn=200,
        seconds=1,
    )
    load = Load(real_cluster, plan)
    result = load.run(silent)
    chosen = {kind: len(real_cluster.list(kind, selector="pytest-kina/load=all")) for kind in ("pods", "configmaps")}
    assert chosen == {"pods": 32, "configmaps": 20}
    assert len(real_cluster.list("loadobjects")) == 10
    assert len(real_cluster.list("events", selector="pytest-kina/load=all")) == 10
    assert (result.failed, result.examples) == (0, ())
    assert sum(count for what, count in result.done.items() if what.startswith("create")) == plan.objects
    assert sum(count for what, count in result.done.items() if not what.startswith("create")) > 20
    assert 0 < result.request_seconds["median"] <= result.request_seconds["p99"] <= result.request_seconds["max"]
    assert json.loads(json.dumps(result.to_json()))["plan"] == plan.to_json()
    with pytest.raises(Conflict, match=r"there is a load called 'all' on .* already"):
        load.run(silent)
    load.delete(wait=True)
    assert real_cluster.list("namespaces", selector="pytest-kina/load=all") == []
    load.delete()


def test_a_server_that_refuses_is_given_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An API server that takes one change at a time answers 429 to others; all arrive, and fewer are sent at once."""
    limits = (("max-mutating-requests-inflight", "1"), ("max-requests-inflight", "1"))
    spec = ClusterSpec(profile="api", simulated_nodes=0, api_server_args=limits)
    with embedded_cluster(tmp_path_factory.mktemp("busy"), spec) as cluster:
        jane = cluster.as_user("jane", role="cluster-admin")  # the server never refuses system:masters
        result = Load(jane, LoadPlan(config_maps=100, size=200_000), per_second=100_000).run(silent)
        assert result.done == {"create config_maps": 100}
        assert result.failed == 0
        assert result.throttled > 0
        assert len(cluster.list("configmaps", selector="pytest-kina/load=load")) == 100


def test_the_fixture_removes_its_load(home: Home) -> None:
    """A test gets its result; after the test namespaces and definition are gone."""
    write_project(home.project, {"test_it.py": FIXTURE})
    ended = home.run(ci=True)
    assert ended.outcomes == {"passed": 2}, ended.output
    home.assert_nothing_left()


@pytest.mark.parametrize("keep", [False, True])
def test_the_command_loads_a_cluster_of_its_own(home: Home, keep: bool) -> None:
    """It shows progress, prints one document, and leaves the cluster to be reset, or to be looked at."""
    argv = ["load", "--json", "--config-maps=50", "--churn=50", "--seconds=1", "--profile=api", "--ttl=5m"]
    ended = run_command(
        [Path(sys.executable).with_name("pytest-kina"), *argv, *(["--keep"] if keep else [])],
        timeout=120,
        env={"KINA_HOME": str(home.root), "KINA_ASSETS": home.assets, "HOME": str(home.project)},
        cwd=home.project,
    )
    result = json.loads(ended.stdout)
    assert result["done"]["create config_maps"] == 50
    assert (result["failed"], result["kept"]) == (0, keep)
    assert "creating 50 objects (50 of 50" in ended.stderr
    assert "changing objects" in ended.stderr
    assert home.records()[0]["cluster"] == result["cluster"]
    if not keep:
        home.wait_until(lambda: home.records()[0]["state"] == "READY", 60, "the cluster is reset")
    assert home.records()[0]["kept"] is keep
    cluster = Cluster.open(home.root / "clusters" / result["cluster"])
    assert len(cluster.list("configmaps", selector="pytest-kina/load=load")) == (50 if keep else 0)


@pytest.mark.long
@pytest.mark.parametrize("pods", [1000, 5000])
def test_thousands_of_pods(tmp_path_factory: pytest.TempPathFactory, pods: int) -> None:
    """All become Ready on 100 nodes, none is refused for good."""
    with embedded_cluster(tmp_path_factory.mktemp("large"), ClusterSpec(simulated_nodes=100)) as cluster:
        result = Load(cluster, LoadPlan(pods=pods, namespaces=10), per_second=2000).run(silent)
        assert (result.failed, result.done["create pods"]) == (0, pods)
        assert len(cluster.list("pods", fields="status.phase=Running")) == pods
        assert result.ready_seconds is not None
