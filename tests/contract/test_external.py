"""What the external provider leaves alone, and what it says when it is not welcome; in a real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.files import peek_json, write_json
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.external import ExternalProvider
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing.bench import Bench, announce

pytestmark = pytest.mark.real_control_plane
SPEC = ClusterSpec()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Places for leases."""
    made = Bench()
    yield made
    made.clear(ExternalProvider)


def guest(cluster: Cluster, **change: Any) -> ExternalProvider:
    """The provider for this cluster, as the user names it."""
    named: dict[str, Any] = {"kubeconfig": cluster.kubeconfig, "context": cluster.name, "allow_context": "kina-*"}
    return ExternalProvider(**(named | change))


def lease(bench: Bench, provider: ExternalProvider) -> tuple[Place, Cluster]:
    """A lease in the cluster, and its handle."""
    place = bench.place()
    announce(provider, SPEC, place)
    provider.create(SPEC, place, bench.stopwatch, 30.0)
    return place, Cluster.open(place.directory)


def namespaces(cluster: Cluster) -> set[str]:
    """All namespaces of a cluster."""
    return {each["metadata"]["name"] for each in cluster.list("namespaces")}


def test_only_the_leases_own_namespaces_go(existing_cluster: Cluster, bench: Bench) -> None:
    """Namespaces of the user and of other leases stay, on reset and on deletion; the cluster goes on."""
    provider = guest(existing_cluster)
    users = existing_cluster.create_namespace("users-own")
    (place, ours), (_, others) = lease(bench, provider), lease(bench, provider)
    mine, theirs = ours.create_namespace("mine"), others.create_namespace("theirs")
    provider.reset(SPEC, place, bench.stopwatch, 60.0)
    assert {users.name, theirs.name} <= namespaces(existing_cluster)
    assert mine.name not in namespaces(existing_cluster)
    provider.delete(place)
    assert {users.name, theirs.name} <= namespaces(existing_cluster)
    assert not (place.directory / "kubeconfig").exists()


def test_it_cleans_up_without_being_told_the_cluster_again(existing_cluster: Cluster, bench: Bench) -> None:
    """Who tidies later knows no options; the copy in the lease's directory suffices."""
    place, ours = lease(bench, guest(existing_cluster))
    mine = ours.create_namespace("mine")
    stranger = ExternalProvider()
    assert stranger.check(place) is None
    assert stranger.leftovers(bench.root.clusters) == [place.name]
    stranger.delete(place)
    assert mine.name not in namespaces(existing_cluster)
    assert stranger.leftovers(bench.root.clusters) == []


def test_another_version_is_refused(existing_cluster: Cluster) -> None:
    """A minor takes any of its patches; what does not run there is an error that names what does."""
    provider = guest(existing_cluster)
    identity = provider.prepare(SPEC, silent)
    patch = identity["kubernetes"].removeprefix("v")
    assert provider.prepare(replace(SPEC, version=patch), silent) == identity
    for other in ("1.35", f"{patch}1"):
        with pytest.raises(SpecError, match=rf"runs Kubernetes v{patch}, the test asks for {other}\nNext.*version = "):
            provider.prepare(replace(SPEC, version=other), silent)


def test_a_user_without_rights_is_told_so(existing_cluster: Cluster, bench: Bench) -> None:
    """Creation says which verbs are missing, before any test runs into it; nothing is left."""
    kubeconfig = existing_cluster.kubeconfig_for("guest")
    existing_cluster.as_user("guest", role=[{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]}])
    with pytest.raises(ProvisionError, match="may not create, delete namespaces"):
        lease(bench, guest(existing_cluster, kubeconfig=kubeconfig))
    assert ExternalProvider().leftovers(bench.root.clusters) == []


def test_another_cluster_at_the_same_address_is_noticed(existing_cluster: Cluster, bench: Bench) -> None:
    """It is neither handed out nor cleaned, and what we know of the old one goes."""
    place, ours = lease(bench, guest(existing_cluster))
    kept = ours.create_namespace("kept")
    visited = place.directory / "external.json"
    write_json(visited, 1, {**(peek_json(visited, 1) or {}), "uid": "that of the cluster before"})
    provider = ExternalProvider()
    assert provider.check(place) == "another cluster has taken its place"
    with pytest.raises(ProvisionError, match="another cluster"):
        provider.reset(SPEC, place, bench.stopwatch, 5.0)
    provider.delete(place)
    assert kept.name in namespaces(existing_cluster)
    kept.delete()


def test_a_namespace_that_is_not_gone_in_time_is_named(existing_cluster: Cluster, bench: Bench) -> None:
    """The reset ends at its time-out (a namespace takes five seconds at least); the next one finds it gone."""
    place, ours = lease(bench, guest(existing_cluster))
    mine = ours.create_namespace("slow")
    provider = ExternalProvider()
    with pytest.raises(ProvisionError, match=f"namespaces {mine.name} of {place.name} are still there after 0.5 s"):
        provider.reset(SPEC, place, bench.stopwatch, 0.5)
    provider.reset(SPEC, place, bench.stopwatch, 60.0)
    assert mine.name not in namespaces(existing_cluster)


def test_a_lost_kubeconfig_is_not_taken_for_success(existing_cluster: Cluster, bench: Bench) -> None:
    """Nobody can clean up then: the error says how to do it by hand, and the directory's removal ends it."""
    place, _ = lease(bench, guest(existing_cluster))
    (place.directory / "kubeconfig").unlink()
    with pytest.raises(ProvisionError, match=f"delete namespaces -l pytest-kina/cluster={place.name}, then remove"):
        ExternalProvider().delete(place)
    assert ExternalProvider().leftovers(bench.root.clusters) == [place.name]
    (place.directory / "external.json").unlink()
    ExternalProvider().delete(place)


def test_a_server_that_does_not_answer_is_an_error(existing_cluster: Cluster, bench: Bench) -> None:
    """Neither fit nor deleted: what may still be there is not forgotten."""
    place, _ = lease(bench, guest(existing_cluster))
    kubeconfig = place.directory / "kubeconfig"
    right = kubeconfig.read_text()
    wrong = json.loads(right)
    wrong["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    kubeconfig.write_text(json.dumps(wrong))
    provider = ExternalProvider()
    assert "its API server cannot be asked" in str(provider.check(place))
    with pytest.raises(ProvisionError, match="did not answer"):
        provider.delete(place)
    assert provider.leftovers(bench.root.clusters) == [place.name]
    kubeconfig.write_text(right)
    provider.delete(place)
