"""The fixtures that need a real API server: namespaces, client and kubectl, and what stays of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina.cli import main
from pytest_kina.cluster import Cluster
from tests.support.runs import Home, write_project

pytestmark = pytest.mark.real_control_plane

TESTS = """
import json, pytest

pytestmark = pytest.mark.kina_cluster(profile="api")
seen = []

@pytest.mark.parametrize("text", ["a", "Ä/ü" * 40])
def test_namespace(kina_namespace, kina_cluster, text, request):
    name = kina_namespace.name
    assert len(name) <= 63 and name.startswith("test-namespace-")
    annotations = kina_cluster.get(f"namespace/{name}")["metadata"]["annotations"]
    assert annotations["pytest-kina/test"] == request.node.nodeid
    seen.append(name)

def test_namespaces_are_deleted_and_never_shared(kina_cluster):
    assert len(set(seen)) == 2
    kina_cluster.wait(f"namespace/{seen[0]}", deleted=True)
    kina_cluster.wait(f"namespace/{seen[1]}", deleted=True)

def test_client_and_kubectl_are_of_the_same_cluster(kina_client, kina_kubectl, kina_cluster):
    from kubernetes.client import ApiClient

    assert isinstance(kina_client, ApiClient)
    server = kina_client.configuration.host
    assert server in kina_cluster.kubeconfig.read_text()
    listed = json.loads(str(kina_kubectl("get", "--raw", "/version")))
    assert listed["gitVersion"] == kina_cluster.version
"""

FAILING = """
import pytest

pytestmark = pytest.mark.kina_cluster(profile="api")

def test_bad(kina_namespace):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evidence"}})
    assert 0

def test_good(kina_namespace): pass
"""


@pytest.fixture
def home(tmp_path: Path, assets: str) -> Iterator[Home]:
    """A root and a project for this test; whatever a failure leaves running is ended."""
    (tmp_path / "project").mkdir()
    home = Home(root=tmp_path / "home", project=tmp_path / "project", assets=assets)
    yield home
    home.sweep()


def test_fixtures_of_a_real_cluster(home: Home) -> None:
    """Each test has a namespace of its own that is deleted after it; client and kubectl belong to the same cluster."""
    write_project(home.project, {"test_it.py": TESTS})
    run = home.run(ci=True)
    assert run.outcomes == {"passed": 4}, run.output
    home.assert_nothing_left()


def test_binaries_come_from_the_assets_of_the_settings(home: Home, assets: str) -> None:
    """``assets`` of the project serves the control plane and kubectl, without any environment variable."""
    table = f"[tool.kina]\nassets = {json.dumps(assets.split(os.pathsep))}\noffline = true\nprofile = 'api'\n"
    use = "def test_it(kina_kubectl): assert kina_kubectl('get', 'namespaces', json=True)['items']"
    write_project(home.project, {"pyproject.toml": table, "test_it.py": use})
    run = home.run(ci=True, KINA_ASSETS="", PATH="")
    assert run.outcomes == {"passed": 1}, run.output
    home.assert_nothing_left()


def test_namespace_of_a_failed_test_is_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``failed`` the namespace and its cluster stay, also in CI, until somebody deletes the cluster."""
    write_project(home.project, {"test_it.py": FAILING})
    run = home.run("--kina-keep=failed", ci=True)
    assert run.outcomes == {"failed": 1, "passed": 1}, run.output
    (record,) = home.records().values()
    cluster = Cluster.open(home.root / "clusters" / str(record["cluster"]))
    names = [each["metadata"]["name"] for each in cluster.list("namespaces")]
    (name,) = [name for name in names if name.startswith("test-")]
    assert f"namespace {name} in {cluster.name}, kubeconfig {cluster.kubeconfig}" in run.output
    assert cluster.get("configmap/evidence", namespace=name)["metadata"]["name"] == "evidence"
    monkeypatch.setenv("KINA_HOME", str(home.root))
    assert main(["down", cluster.name]) == 0
    home.assert_nothing_left()
