"""Real clusters for the tests of this folder, made by the embedded provider without the pool, and always deleted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_kina.cluster import Cluster, Namespace
from pytest_kina.files import write_json
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterDescription, ClusterSpec, fingerprint
from pytest_kina.timing import TimingRecorder

_TIMEOUT = 120.0


@contextmanager
def embedded_cluster(folder: Path, spec: ClusterSpec) -> Iterator[Cluster]:
    """A cluster of ``spec`` below ``folder`` for the length of the block."""
    name = f"kina-e2e-{secrets.token_hex(4)}"
    directory = folder / name
    directory.mkdir(mode=0o700)
    place = Place(name=name, directory=directory, slot_lock=folder / f"{name}.lock", tidy=("true",))
    provider = EmbeddedProvider()
    identity = provider.prepare(spec, silent)
    description = ClusterDescription(
        name=name,
        provider="embedded",
        fingerprint=fingerprint(spec, "embedded", identity),
        spec=spec,
        identity=tuple(sorted(identity.items())),
    )
    write_json(directory / ClusterDescription.FILE, ClusterDescription.SCHEMA, description.to_json())
    stopwatch = TimingRecorder(run="e2e", worker="main").bind(cluster=name)
    try:
        provider.create(spec, place, stopwatch, _TIMEOUT)
        yield Cluster.open(directory)
    finally:
        provider.delete(place)


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
