"""The reset grade *sweep* with the real control plane: what it removes, what it keeps, and when it must not be trusted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.cluster.sweeping import Inventory
from pytest_kina.errors import NotFound
from pytest_kina.files import write_json
from pytest_kina.pool import Want
from pytest_kina.progress import silent
from pytest_kina.providers import Place, find
from pytest_kina.providers.embedded import EmbeddedProvider, processes
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.spec import ClusterDescription, ClusterSpec, fingerprint
from pytest_kina.timing import Phase, TimingRecorder
from tests.e2e.test_content import CRD, DENIAL, WIDGET

pytestmark = pytest.mark.real_control_plane

SPECS = {"api": ClusterSpec(profile="api", simulated_nodes=0), "workloads": ClusterSpec(simulated_nodes=1)}
POD = {"containers": [{"name": "c", "image": "registry.invalid/i"}]}


@dataclass
class Swept:
    """A cluster that is reset by sweeping where that suffices."""

    place: Place
    spec: ClusterSpec
    provider: EmbeddedProvider
    recorder: TimingRecorder = field(default_factory=lambda: TimingRecorder(run="e2e", worker="main"))

    def create(self) -> Cluster:
        """Make it; its handle."""
        identity = self.provider.prepare(self.spec, silent)
        description = ClusterDescription(
            name=self.place.name,
            provider="embedded",
            fingerprint=fingerprint(self.spec, "embedded", identity),
            spec=self.spec,
            identity=tuple(sorted(identity.items())),
        )
        document = description.to_json()
        self.place.directory.mkdir(mode=0o700)
        write_json(self.place.directory / ClusterDescription.FILE, ClusterDescription.SCHEMA, document)
        self.provider.create(self.spec, self.place, self.recorder.bind(), 120.0)
        self.provider.adopt(self.place)
        return Cluster.open(self.place.directory)

    @property
    def supervisor(self) -> int | None:
        """Who keeps its processes: another one after a restore."""
        return processes.supervisor(Layout(self.place.directory).identity, self.place.name)

    def reset(self) -> bool:
        """Reset it as a process would that knows nothing but the directory; whether it was swept."""
        before = self.supervisor
        self.recorder.drain()
        find("embedded").reset(self.spec, self.place, self.recorder.bind(), 60.0)  # type: ignore[attr-defined]
        (event,) = self.recorder.drain()
        assert event.phase == Phase.RESET
        assert self.provider.check(self.place) is None
        if self.supervisor != before:
            self.provider.adopt(self.place)
        return self.supervisor == before


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the templates are that the module's clusters share."""
    return tmp_path_factory.mktemp("sweeping")


@pytest.fixture
def new(root: Path) -> Iterator[Callable[[str], Swept]]:
    """Makes clusters that are gone after the test."""
    made: list[Swept] = []

    def make(profile: str) -> Swept:
        name = f"kina-e2e-{secrets.token_hex(4)}"
        place = Place(name=name, directory=root / name, slot_lock=root / f"{name}.lock", tidy=("true",))
        made.append(Swept(place, SPECS[profile], EmbeddedProvider(root / "root", reset="sweep")))
        return made[-1]

    yield make
    for cluster in made:
        cluster.provider.delete(cluster.place)


def role(name: str, **metadata: Any) -> dict[str, Any]:
    """A ClusterRole."""
    rules = [{"apiGroups": ["kina.test"], "resources": ["widgets"], "verbs": ["get"]}]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    return {**head, "metadata": {"name": name, **metadata}, "rules": rules}


def held(name: str, namespace: str) -> dict[str, Any]:
    """A ConfigMap with a finalizer that nobody will ever remove."""
    metadata = {"name": name, "namespace": namespace, "finalizers": ["kina.test/never"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def deployment(namespace: str) -> dict[str, Any]:
    """Three pods, and what is between."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": POD}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "web", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def litter(cluster: Cluster, *, workloads: bool) -> None:
    """Leave something of every kind behind: with content, finalizers, webhooks, and types of its own."""
    own = cluster.create_namespace("left").name
    cluster.apply(
        [CRD, WIDGET, WIDGET | {"metadata": {"name": "two", "namespace": own, "finalizers": ["kina.test/no"]}}]
    )
    cluster.apply([held("held", own), held("held", "default"), role("left")])
    if workloads:
        cluster.apply([deployment(own), deployment("default")])
        for namespace in (own, "default"):
            cluster.wait("deployment/web", condition="Available", namespace=namespace)
    cluster.delete("configmap", "held", namespace="default", wait=False)
    cluster.apply(DENIAL)


@pytest.mark.parametrize("profile", ["api", "workloads"])
def test_everything_that_was_added_is_gone(new: Callable[[str], Swept], profile: str) -> None:
    """Same processes, same objects with the same uids and contents, and no type, webhook, event or log of before."""
    swept = new(profile)
    cluster = swept.create()
    before = Inventory.take(cluster.connection)
    for _ in range(2):
        litter(cluster, workloads=profile == "workloads")
        assert swept.reset()
        after = Inventory.take(cluster.connection)
        assert after.types == before.types
        assert {key: (uid, digest) for key, (uid, _, digest) in after.objects.items()} == {
            key: (uid, digest) for key, (uid, _, digest) in before.objects.items()
        }
        with pytest.raises(NotFound):
            cluster.get("widgets", "one", namespace="default")
        assert not any("widgets" in text for text in cluster.component_logs().values())
        assert cluster.list("events", namespace="default") == []


def edit_role(cluster: Cluster) -> None:
    """A bootstrap role with other rules."""
    cluster.apply(role("view"), force=True)


def unlabel(cluster: Cluster) -> None:
    """A bootstrap object without a label, which no managed field tells."""
    api = cluster.connection.api
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin"
    body, merge = {"metadata": {"labels": None}}, "application/merge-patch+json"
    api.request("PATCH", path, api.call("patch", "cluster-admin"), body=body, content_type=merge)


def lose(cluster: Cluster) -> None:
    """A bootstrap object less."""
    cluster.delete("configmap", "extension-apiserver-authentication", namespace="kube-system")


def forget(cluster: Cluster) -> None:
    """Nobody knows any more what there was."""
    Layout(cluster.directory).inventory.write_text("{")


@pytest.mark.parametrize("deed", [edit_role, unlabel, lose, forget])
def test_what_sweeping_cannot_bring_back_is_restored(
    new: Callable[[str], Swept], deed: Callable[[Cluster], None]
) -> None:
    """A changed or lost bootstrap object, or a lost inventory: the same reset makes the cluster anew, with new keys."""
    swept = new("api")
    cluster = swept.create()
    certificate = (Layout(swept.place.directory).pki / "kina-admin.crt").read_bytes()
    deed(cluster)
    assert not swept.reset()
    assert (Layout(swept.place.directory).pki / "kina-admin.crt").read_bytes() != certificate
    again = Cluster.open(swept.place.directory)
    assert again.get("clusterrole", "view")["rules"] != role("view")["rules"]
    assert again.get("clusterrole", "cluster-admin")["metadata"]["labels"]
    again.apply(role("left"))
    assert swept.reset()  # it was restored as one that can be swept
    with pytest.raises(NotFound):
        again.get("clusterrole", "left")


def test_what_was_simulated_ends_with_a_restore(new: Callable[[str], Swept]) -> None:
    """Kwok would go on with it in a cluster that is only swept."""
    swept = new("workloads")
    cluster = swept.create()
    with cluster.simulate.fail_pods("app=web"):
        assert Layout(cluster.directory).simulated.stat().st_size
        assert not swept.reset()
    assert Layout(cluster.directory).simulated.stat().st_size == 0


def test_who_asks_for_a_restore_gets_no_swept_cluster(root: Path) -> None:
    """Whose former holder may still have the keys: both kinds start from one template, and are never confused."""
    plain, swept = (EmbeddedProvider(root / "root", reset=grade) for grade in ("restore", "sweep"))
    spec = SPECS["api"]
    wants = [Want.prepared(spec, "embedded", provider, silent) for provider in (plain, swept)]
    assert wants[0].fingerprint != wants[1].fingerprint
    assert plain._recipe(spec).template == swept._recipe(spec).template
