"""The fixtures. Each resolves its input and delegates; the keeper of the process knows what is leased."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster, Kubectl, Namespace
    from pytest_kina.load import LoadResult
    from pytest_kina.plugin.keeper import Keeper
    from pytest_kina.run import Timings

KEEPER: pytest.StashKey[Keeper] = pytest.StashKey()


@pytest.fixture(scope="session")
def kina_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A leased cluster: the unnamed one of this test's marks, else the first one named."""
    with request.config.stash[KEEPER].lend(getattr(request, "param", None)) as loan:
        yield loan.main


@pytest.fixture(scope="session")
def kina_clusters(request: pytest.FixtureRequest, kina_cluster: Cluster) -> Mapping[str, Cluster]:
    """All leased clusters of this test by the names in its marks; the unnamed one is ``""``."""
    return request.config.stash[KEEPER].clusters(kina_cluster)


@pytest.fixture
def kina_namespace(request: pytest.FixtureRequest, kina_cluster: Cluster) -> Iterator[Namespace]:
    """A namespace of this test's own in ``kina_cluster``; deleted afterwards, without waiting for it."""
    with request.config.stash[KEEPER].namespace(request.node, kina_cluster) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def kina_client(kina_cluster: Cluster) -> Any:
    """The official ``kubernetes.client.ApiClient`` for ``kina_cluster``, as its administrator."""
    return kina_cluster.client()


@pytest.fixture(scope="session")
def kina_kubeconfig(kina_cluster: Cluster) -> Path:
    """The private kubeconfig file of ``kina_cluster``; the environment is left alone."""
    return kina_cluster.kubeconfig


@pytest.fixture(scope="session")
def kina_kubectl(request: pytest.FixtureRequest, kina_cluster: Cluster) -> Kubectl:
    """``kubectl`` for ``kina_cluster``: arguments in, text or JSON out."""
    return request.config.stash[KEEPER].run.kubectl(kina_cluster)


@pytest.fixture
def kina_load(request: pytest.FixtureRequest, kina_cluster: Cluster) -> Iterator[Callable[..., LoadResult]]:
    """Puts a load on ``kina_cluster``: ``kina_load(pods=1000, churn=20, seconds=5)``; removed after the test."""
    with request.config.stash[KEEPER].loading(request.node, kina_cluster) as load:
        yield load


@pytest.fixture
def kina_timings(request: pytest.FixtureRequest, kina_cluster: Cluster) -> Timings:
    """What was measured for this test's clusters, and a stopwatch for the test's own phases."""
    return request.config.stash[KEEPER].timings(kina_cluster)


@pytest.fixture
def kina_artifacts(request: pytest.FixtureRequest) -> Path:
    """A directory for files that explain this test; it stays after the run, among the run's timings."""
    return request.config.stash[KEEPER].artifacts(request.node)
