"""Whole pytest runs with ``--kina-provider=kina``: simulated tools, and a real control plane in each machine."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina.providers import Place, find
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingRecorder
from tests.support.runs import Home, write_project
from tests.support.simulators import Host

pytestmark = pytest.mark.real_control_plane

USERS_OWN = b"# mine\n"

TESTS = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_objects(kina_namespace, n):
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"n": str(n)}})
    assert kina_namespace.get("configmap", "a")["data"] == {"n": str(n)}

def test_nodes(kina_cluster):
    names = [node["metadata"]["name"] for node in kina_cluster.list("nodes")]
    assert names == [f"{kina_cluster.name}-control-plane"]
    assert kina_cluster.provider == "kina"
    certificate = kina_cluster.get("certificatesigningrequest", f"csr-{names[0]}")["status"]["certificate"]
    assert certificate

def test_deployment(kina_namespace):
    labels = {"app": "a"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    kina_namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec})
    kina_namespace.wait("deployment/a", condition="Available", timeout=60)
"""


@pytest.fixture
def host(tmp_path: Path, assets: str) -> Iterator[Host]:
    """A simulated Mac, whose machines run a real control plane; the user's own kubeconfig stays as it is."""
    environment = {"KINA_ASSETS": assets, "KINA_HOME": str(tmp_path / "inner")}
    made = Host(tmp_path / "mac", runtime="real", environment=environment)
    own = made.home / ".kube" / "config"
    own.write_bytes(USERS_OWN)
    yield made
    try:
        assert own.read_bytes() == USERS_OWN
        assert made.refused() == []
        assert made.machines() == {}
    finally:
        made.close()


def test_xdist_run_shares_one_kina_cluster_and_deletes_it(host: Host, tmp_path: Path, assets: str) -> None:
    """Two xdist workers, one cluster, real objects; at the end of a CI run no machine is left."""
    project = write_project(tmp_path / "project", {"test_it.py": TESTS})
    home = Home(root=tmp_path / "home", project=project, assets=assets, environment=host.environment())
    done = home.run("-n", "2", "--kina-provider=kina", "--kina-start-timeout=120s", ci=True)
    assert done.returncode == 0, done.output
    assert done.outcomes["passed"] == 5
    created = [event for event in home.events() if event.phase in (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY)]
    assert [event.phase for event in created] == [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY]
    assert {event.provider for event in created} == {"kina"}
    assert [event.kubernetes for event in created] == ["v1.36.1"] * 3
    assert len(home.events(Phase.DELETE)) == 1
    home.assert_nothing_left()


def test_images_get_into_the_cluster_once(host: Host, tmp_path: Path, assets: str) -> None:
    """Two xdist workers ask for the same images, one of them absent: pulled, saved and imported once."""
    body = """
import pytest

@pytest.mark.parametrize("n", range(4))
@pytest.mark.kina_cluster(images=["app:test", "app:1"])
def test_image(kina_cluster, n):
    assert kina_cluster.provider == "kina"
"""
    host.images(**{"docker.io/library/app:test": f"sha256:{'1' * 64}"})
    project = write_project(tmp_path / "project", {"test_it.py": body})
    home = Home(root=tmp_path / "home", project=project, assets=assets, environment=host.environment())
    done = home.run("-n", "2", "--kina-provider=kina", "--kina-start-timeout=120s", ci=True)
    assert done.returncode == 0, done.output
    rows = host.rows()
    assert (rows.count("A8"), rows.count("I6")) == (2, 2)
    pulled = [call["argv"][-1] for call in host.calls("container") if call["row"] == "A9"]
    assert sorted(pulled) == ["app:1", "kindest/node:v1.36.1"]
    assert home.events(Phase.IMAGES)
    assert home.events(Phase.IMAGE_LOAD)
    home.assert_nothing_left()


def test_restarted_machine_is_lost_with_its_control_plane(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same API server, at another address, which its certificate does not name: not to be handed out, but deleted."""
    for name, value in host.environment(KINA_HOME=str(tmp_path / "root")).items():
        monkeypatch.setenv(name, value)
    place = Place(
        name="kina-abcdef-0-e2e", directory=tmp_path / "cluster", slot_lock=tmp_path / "0.lock", tidy=("true",)
    )
    place.directory.mkdir()
    kina, recorder = find("kina"), TimingRecorder(run="e2e", worker="main")
    kina.create(ClusterSpec(), place, recorder.bind(), 120.0)
    assert kina.check(place) is None
    moved = host.reboot(f"{place.name}-control-plane")
    assert re.search(rf"was restarted .*; now {re.escape(moved)}", kina.check(place) or "")
    context = ssl.create_default_context(cafile=str(place.directory / "access" / "ca.crt"))
    with (
        socket.create_connection((moved, 6443), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        context.wrap_socket(plain, server_hostname=moved)
    kina.delete(place)
    assert host.machines() == {}
