"""Handles that talk to a scripted API server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_api import FakeApi

from pytest_kina.cluster import Cluster
from pytest_kina.files import write_json
from pytest_kina.spec import ClusterDescription, ClusterSpec


@pytest.fixture
def fake_api() -> Iterator[FakeApi]:
    """The server, running."""
    fake = FakeApi()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Make a handle for a server: ``make_cluster(url, provider=..., profile=...)``."""

    def make(url: str, *, provider: str = "kind", profile: Any = "workloads") -> Cluster:
        directory = tmp_path / "cluster"
        directory.mkdir(mode=0o700)
        description = ClusterDescription(
            name="c1",
            provider=provider,
            fingerprint="f" * 16,
            spec=ClusterSpec(profile=profile),
            identity=(("kubernetes", "v1.36.3"),),
        )
        write_json(directory / "cluster.json", ClusterDescription.SCHEMA, description.to_json())
        document = {
            "current-context": "c1",
            "contexts": [{"name": "c1", "context": {"cluster": "c1", "user": "boss"}}],
            "clusters": [{"name": "c1", "cluster": {"server": url}}],
            "users": [{"name": "boss", "user": {"token": "secret-token"}}],
        }
        (directory / "kubeconfig").write_text(json.dumps(document))
        return Cluster.open(directory)

    return make


@pytest.fixture
def fake_cluster(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> Cluster:
    """A handle that talks to the server."""
    return make_cluster(fake_api.url)
