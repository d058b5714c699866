"""Real clusters without the pool, and homes for whole runs, for the tests of this folder; both always tidied up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina.cluster import Cluster, Namespace
from pytest_kina.spec import ClusterSpec
from tests.support.clusters import embedded_cluster
from tests.support.runs import Home


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All five components and one simulated node."""
    with embedded_cluster(tmp_path_factory.mktemp("workloads"), ClusterSpec(simulated_nodes=1)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_api_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Only etcd and the API server."""
    spec = ClusterSpec(profile="api", simulated_nodes=0)
    with embedded_cluster(tmp_path_factory.mktemp("api"), spec) as cluster:
        yield cluster


@pytest.fixture
def home(tmp_path: Path, assets: str) -> Iterator[Home]:
    """A root and a project for this test; whatever a failure leaves running is ended."""
    project = tmp_path / "project"
    project.mkdir()
    home = Home(root=tmp_path / "home", project=project, assets=assets)
    yield home
    home.sweep()


@pytest.fixture
def namespace(real_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of its own for one test, on the cluster with controllers."""
    made = real_cluster.create_namespace(request.node.nodeid)
    yield made
    made.delete()


@pytest.fixture
def api_namespace(real_api_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of its own for one test, on the cluster without controllers."""
    made = real_api_cluster.create_namespace(request.node.nodeid)
    yield made
    made.delete()
