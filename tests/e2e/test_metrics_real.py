"""Measurements of a real cluster: its processes, its directory, its API server, its objects."""

from __future__ import annotations

import pytest

from pytest_kina.cluster import Cluster, Namespace
from pytest_kina.metrics.budgets import findings
from pytest_kina.metrics.probing import count_objects, measure, processes

pytestmark = pytest.mark.real_control_plane
MIB = 1024 * 1024


def test_all_components_are_measured(real_cluster: Cluster) -> None:
    """The supervisor and its five components: memory of a plausible size, and PSS does not exceed RSS."""
    found = processes(real_cluster.directory)
    assert found.processes >= 6
    assert found.pss is not None
    assert 100 * MIB < found.pss <= found.rss < 3000 * MIB
    assert found.cpu_seconds > 0


def test_requests_of_handles_and_of_the_probe_are_timed(real_cluster: Cluster, namespace: Namespace) -> None:
    """What a test asks through its handles counts once; the probe adds what was ordered, and together they are judged."""
    measure(real_cluster, when="release", worker="main")
    for number in range(5):
        namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}})
    metric = measure(real_cluster, when="release", worker="main", probe=60)
    assert 5 <= len(metric.requests) < 60
    assert len(metric.probe) == 60
    assert all(seconds > 0 for seconds in (*metric.requests, *metric.probe))
    assert metric.disk > MIB
    (finding,) = findings([metric])
    assert finding.over is not None
    assert measure(real_cluster, when="release", worker="main").requests == ()


def test_objects_are_counted_by_the_server(real_cluster: Cluster, namespace: Namespace) -> None:
    """Also those beyond the one that is fetched; one node was asked for."""
    before = count_objects(real_cluster)
    assert before["nodes"] == 1
    for number in range(3):
        namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{number}"}})
    after = count_objects(real_cluster)
    assert after["secrets"] >= before["secrets"] + 3


def test_a_cluster_without_local_processes_has_none(
    real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No supervisor, no figures: a directory that only describes a cluster."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "cluster.json").write_bytes((real_cluster.directory / "cluster.json").read_bytes())
    assert processes(elsewhere).processes == 0
