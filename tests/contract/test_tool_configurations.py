"""A configuration of kind or k3d, named by the user: passed on, completed by the spec, and part of the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_kina.errors import NotReadyError, ProvisionError, SpecError
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.spec import ClusterSpec, as_option, fingerprint
from tests.contract.conftest import User

NewUser = Callable[..., User]
KIND = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
K3D = {"kind": "Simple", "apiVersion": "k3d.io/v1alpha5"}
HEAD, WORKER = {"role": "control-plane"}, {"role": "worker"}


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user with all tools, and a root of its own."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    return new_user()


def spec_with(config: Any, **keys: Any) -> ClusterSpec:
    """A spec with a configuration, as a mark makes it."""
    return ClusterSpec(provider_options=(("config", as_option(config)),), **keys)


def machines(user: User) -> set[str]:
    """What runs on the host, without the name of the cluster."""
    return {name.partition("0-c1-")[2] for name in user.host.machines()}


@pytest.mark.parametrize("as_file", [True, False])
def test_kind_makes_what_configuration_and_spec_say(user: User, tmp_path: Path, as_file: bool) -> None:
    """Nodes are those of the configuration, feature gates those of both; all nodes are waited for."""
    config: Any = {**KIND, "name": "mine", "nodes": [HEAD, HEAD, WORKER], "featureGates": {"A": True}}
    if as_file:
        path = tmp_path / "kind.yaml"
        path.write_text(yaml.safe_dump(config))
        config = str(path)
    spec = spec_with(config, feature_gates=(("B", False),))
    place, provider = user.place("kina-abcdef-0-c1"), find("kind")
    provider.create(spec, place, user.recorder.bind(), 60.0)
    assert machines(user) == {"control-plane", "control-plane2", "worker", "external-load-balancer"}
    head = user.host.machines()["kina-abcdef-0-c1-control-plane"]
    assert head["feature_gates"] == {"A": True, "B": False}
    assert provider.check(place) is None
    provider.delete(place)
    assert user.host.machines() == {}


def test_k3d_makes_what_configuration_and_spec_say(user: User) -> None:
    """Servers of the configuration, agents of the spec; the name is the pool's."""
    spec = spec_with({**K3D, "metadata": {"name": "mine"}, "servers": 2}, workers=1)
    place, provider = user.place("kina-abcdef-0-c1"), find("k3d")
    provider.create(spec, place, user.recorder.bind(), 60.0)
    nodes = {name.removeprefix("k3d-kina-abcdef-0-c1-") for name in user.host.machines()}
    assert nodes == {"server-0", "server-1", "agent-0", "serverlb"}
    provider.delete(place)


def test_workers_and_gates_of_the_spec_alone_reach_kind(user: User) -> None:
    """Without a configuration of the user's, the spec is all there is."""
    place = user.place("kina-abcdef-0-c1")
    user.create(place, "kind", workers=2, feature_gates=(("A", True),))
    assert machines(user) == {"control-plane", "worker", "worker2"}
    assert all(machine["feature_gates"] == {"A": True} for machine in user.host.machines().values())
    find("kind").delete(place)


@pytest.mark.parametrize(
    ("provider", "document", "more"), [("kind", KIND, {"runtimeConfig": {"a": "b"}}), ("k3d", K3D, {"volumes": []})]
)
def test_the_content_decides_the_fingerprint(
    user: User, tmp_path: Path, provider: str, document: dict[str, Any], more: dict[str, Any]
) -> None:
    """The same file with another content is another cluster; with the same, the same one."""
    path = tmp_path / "config.yaml"
    spec = spec_with(str(path))

    def prints(content: dict[str, Any]) -> str:
        path.write_text(yaml.safe_dump(content))
        return fingerprint(spec, provider, find(provider).prepare(spec, silent))

    first = prints({**document, **more})
    assert prints(document) != first
    assert prints({**document, **more}) == first


@pytest.mark.parametrize(
    ("provider", "config", "keys", "problem"),
    [
        ("kind", {**KIND, "nodes": [HEAD, WORKER]}, {"workers": 2}, "workers: the spec says 2, but nodes of .* says 1"),
        (
            "kind",
            {**KIND, "featureGates": {"A": True}},
            {"feature_gates": (("A", False),)},
            "feature_gates: A: the spec says False, but featureGates of .* says True",
        ),
        ("kind", {**KIND, "nodes": [{**HEAD, "image": "a:1"}]}, {}, "config has image: the node image is that of"),
        ("kind", {**KIND, "nodes": "two"}, {}, "nodes of config is a list like .*, not 'two'"),
        ("kind", {"kind": "Pod"}, {}, r"config={...} is no such configuration: expected `kind: Cluster`, got 'Pod'"),
        ("kind", "/nowhere/kind.yaml", {}, "config='/nowhere/kind.yaml' cannot be read: No such file"),
        ("k3d", {**K3D, "agents": 1}, {"workers": 2}, "workers: the spec says 2, but agents of .* says 1"),
        ("k3d", {**K3D, "image": "a:1"}, {}, "config has image: the node image is that of"),
        ("k3d", {**K3D, "kubeAPI": {"hostPort": "6443"}}, {}, "config has kubeAPI: the API server is published"),
        ("k3d", {**K3D, "agents": "many"}, {}, "whole numbers, not agents: 'many'"),
        ("k3d", KIND, {}, "expected `kind: Simple`, got 'Cluster'"),
    ],
)
def test_contradictions_are_refused_at_collection(
    provider: str, config: Any, keys: dict[str, Any], problem: str
) -> None:
    """Both sides are named, and no tool is looked for."""
    with pytest.raises(SpecError, match=problem):
        find(provider).validate(spec_with(config, **keys))


@pytest.mark.parametrize("content", ["kind: [", "- 1", ""])
def test_what_is_no_configuration_is_named(tmp_path: Path, content: str) -> None:
    """The file, and what was expected."""
    path = tmp_path / "kind.yaml"
    path.write_text(content)
    with pytest.raises(SpecError, match=f"config='{path}' (cannot be read|is no such configuration)"):
        find("kind").validate(spec_with(str(path)))


def test_what_only_the_tool_refuses_is_told_in_its_words(user: User) -> None:
    """A key that kind does not know; nothing is left."""
    place = user.place()
    with pytest.raises(ProvisionError, match="field colour not found"):
        find("kind").create(spec_with({**KIND, "colour": "red"}), place, user.recorder.bind(), 30.0)
    assert user.host.machines() == {}


def test_a_node_of_the_configuration_that_does_not_join_is_missed(user: User) -> None:
    """Readiness counts the nodes of the configuration, not those of the spec."""
    user.host.inject(**{"lost join": {}})
    place = user.place()
    with pytest.raises(NotReadyError, match=f"{place.name}-worker has not joined"):
        find("kind").create(spec_with({**KIND, "nodes": [HEAD, WORKER]}), place, user.recorder.bind(), 5.0)
    find("kind").delete(place)
