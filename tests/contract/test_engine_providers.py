"""kind, k3d and ``container k8s`` against simulated tools: what is refused, what is not believed, what is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_kina.errors import NotReadyError, ProvisionError, SpecError
from pytest_kina.files import write_json
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.providers.auto import Auto
from pytest_kina.spec import ClusterSpec, as_option
from tests.contract.conftest import User

NewUser = Callable[..., User]
ENGINES = ["kind", "k3d"]
ALL = [*ENGINES, "apple_k8s"]


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user with all tools, and a root of its own."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    return new_user(container="1.2.2")


@pytest.mark.parametrize(
    ("provider", "settings", "reason"),
    [
        ("kind", {"tools": ("docker",)}, "`kind` is not on PATH"),
        ("kind", {"tools": ("kind",)}, "none of docker, podman, nerdctl is on PATH"),
        ("kind", {"kind": "0.20.0"}, "is 0.20.0; 0.24.0 is the oldest"),
        ("kind", {"kind": "next"}, "is not understood"),
        ("kind", {"daemon": False}, "its service does not answer: Cannot connect to the Docker daemon"),
        ("k3d", {"tools": ("docker",)}, "`k3d` is not on PATH"),
        ("k3d", {"k3d": "4.4.8"}, "is 4.4.8; 5.6.0 is the oldest"),
        ("k3d", {"daemon": False}, "its service does not answer"),
        ("apple_k8s", {"tools": ()}, "`container` is not on PATH"),
        ("apple_k8s", {"container": "next"}, "--version is not understood"),
        ("apple_k8s", {"container": "1.2.1"}, "has no working `container k8s`; 1.2.2 is the first"),
        ("apple_k8s", {"container": "1.3.0", "k8s": False}, "was built without its k8s plugin"),
        ("apple_k8s", {"container": "1.3.0", "daemon": False}, "is unregistered, not running"),
    ],
)
def test_unfit_tools_turn_a_provider_off_with_the_reason(
    new_user: NewUser, monkeypatch: pytest.MonkeyPatch, provider: str, settings: Mapping[str, object], reason: str
) -> None:
    """One sentence; nothing is made."""
    user = new_user(**settings)
    if "tools" in settings:
        (user.host.bin / "sh").symlink_to("/bin/sh")
        monkeypatch.setenv("PATH", str(user.host.bin))
    why = find(provider).unavailable()
    assert why is not None
    assert reason in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("provider", "spec", "reason"),
    [
        ("kind", ClusterSpec(version="1.20"), "no kindest/node image is known for Kubernetes 1.20"),
        ("k3d", ClusterSpec(version="1.20"), "no k3s image is known"),
        ("apple_k8s", ClusterSpec(version="1.20"), "no kindest/node image"),
        (
            "kind",
            ClusterSpec(version="1.20.1"),
            r"known are 1\.32, .*\nNext step: .*provider_options={'node_image': ...}",
        ),
        (
            "k3d",
            ClusterSpec(version="1.20.1"),
            r"known are 1\.33, .*\nNext step: .*provider_options={'node_image': ...}",
        ),
        ("kind", ClusterSpec(provider_options=(("node_image", "mine:latest"),)), "has no tag like v1.36.1"),
        ("k3d", ClusterSpec(provider_options=(("node_image", "rancher/k3s:v1.36.1"),)), "no tag like v1.36.1-k3s1"),
        ("kind", ClusterSpec(provider_options=(("cni", "x"),)), "kind has no cni; it has node_image, config"),
        ("apple_k8s", ClusterSpec(provider_options=(("cni", "x"),)), "apple_k8s has no cni"),
    ],
)
def test_what_a_tool_cannot_do_is_refused_at_collection(provider: str, spec: ClusterSpec, reason: str) -> None:
    """Without looking for the tool."""
    with pytest.raises(SpecError, match=reason):
        find(provider).validate(spec)


@pytest.mark.parametrize(
    ("provider", "image"),
    [("kind", "a.io/node:v1.20.1"), ("k3d", "a.io/k3s:v1.20.1-k3s2"), ("apple_k8s", "a.io/n:v1.20.1")],
)
def test_a_node_image_makes_up_for_an_unknown_version(user: User, provider: str, image: str) -> None:
    """The image says which version runs, whatever our table knows."""
    user.host.set(pullable=[image, "ghcr.io/k3d-io/k3d-proxy:5.8.3", "ghcr.io/k3d-io/k3d-tools:5.8.3"])
    spec = ClusterSpec(version="1.20", provider_options=(("node_image", image),))
    assert find(provider).prepare(spec, silent)["kubernetes"] == "v1.20.1"


@pytest.mark.parametrize("provider", ALL)
def test_node_image_is_pulled_once(user: User, provider: str) -> None:
    """The second preparation finds it; a patch version and a mirrored image are taken as they are."""
    one = find(provider)
    for _ in range(2):
        identity = one.prepare(ClusterSpec(version="1.35"), silent)
    assert identity["kubernetes"] == "v1.35.5"
    pulled = [call["argv"][-1] for call in user.host.calls() if call["row"] in ("O3", "A9")]
    assert len(pulled) == len(set(pulled)) == (3 if provider == "k3d" else 1)


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize(
    ("step", "reason"),
    [("create", "out of order"), ("run", "no room"), ("kubeconfig", "no usable kubeconfig|out of order")],
)
def test_failed_creation_says_why_and_leaves_nothing(user: User, provider: str, step: str, reason: str) -> None:
    """The tool's words; what it left is deleted."""
    commands = {
        "kind": {"create": "kind create cluster", "kubeconfig": "kubeconfig"},
        "k3d": {"create": "k3d cluster create", "kubeconfig": "k3d kubeconfig get"},
        "apple_k8s": {"create": "k8s create", "kubeconfig": "k8s write-config"},
    }[provider]
    text = "no room" if step == "run" else "out of order"
    user.host.inject(**{commands.get(step, step): {"text": text}})
    if (provider, step) == ("apple_k8s", "kubeconfig"):
        user.host.inject(**{"k8s kubeconfig": {"times": 1}})
    place = user.place()
    with pytest.raises(Exception, match=reason):
        user.create(place, provider)
    user.host.heal()
    find(provider).delete(place)
    assert user.host.machines() == {}


@pytest.mark.parametrize("provider", ENGINES)
def test_version_of_the_image_must_be_true(user: User, provider: str) -> None:
    """An image that runs something else than its tag says is an error, not a cluster."""
    place = user.place()
    user.host.set(claims="v1.30.0")
    with pytest.raises(NotReadyError, match=r"runs Kubernetes v1\.30\.0, not v1\.36\.1"):
        user.create(place, provider)
    find(provider).delete(place)


@pytest.mark.parametrize("provider", ALL)
def test_stopped_nodes_are_told(user: User, provider: str) -> None:
    """Stopped behind our back: not to be handed out, but to be deleted."""
    place = user.place()
    user.create(place, provider)
    user.host.stop(next(iter(user.host.machines())))
    why = find(provider).check(place)
    assert why is not None
    assert "do not run" in why or "is stopped" in why
    find(provider).delete(place)
    assert user.host.machines() == {}


@pytest.mark.parametrize("provider", ALL)
def test_what_a_pool_has_left_is_found_with_its_logs(user: User, provider: str) -> None:
    """By names that begin with the pool's id: what another pool has is its own. Of what is gone only the tool's words stay."""
    place = user.place()
    user.create(place, provider)
    one, clusters = find(provider), place.directory.parent
    assert one.leftovers(clusters) == []
    write_json(clusters.parent / "pool.json", 7, {"id": place.name.split("-")[1]})
    assert one.leftovers(clusters) == [place.name]
    assert any(one.logs(place, 10).values())
    write_json(clusters.parent / "pool.json", 7, {"id": "ffffff"})
    assert one.leftovers(clusters) == []
    one.delete(place)
    assert one.logs(place, 10).keys() <= {provider}


@pytest.mark.parametrize(
    ("provider", "command"),
    [("kind", "kind delete cluster"), ("k3d", "k3d cluster delete"), ("apple_k8s", "k8s delete")],
)
def test_deletion_falls_back_on_force(user: User, provider: str, command: str) -> None:
    """The tool fails, the nodes go all the same; when not even that helps, the error names them and the command."""
    place = user.place()
    user.create(place, provider)
    refused = {"text": "busy"}
    user.host.inject(**{command: refused, "docker rm": refused, "delete --force": refused})
    with pytest.raises(ProvisionError, match=f"could not be deleted; still there: .*{place.name}"):
        find(provider).delete(place)
    user.host.heal()
    user.host.inject(**{command: refused})
    find(provider).delete(place)
    assert user.host.machines() == {}


def test_k3d_publishes_to_this_machine_only(user: User) -> None:
    """And its files stay out of the user's configuration directory."""
    place = user.place()
    user.create(place, "k3d", workers=1, provider_options=(("k3s_args", ("--disable=traefik@server:0",)),))
    line = next(call["argv"] for call in user.host.calls("k3d") if call["row"] == "R1")
    assert line[line.index("--api-port") + 1] == "127.0.0.1:random"
    assert line[-2:] == ["--k3s-arg", "--disable=traefik@server:0"]
    assert (place.directory / "config" / "k3d").is_dir()
    find("k3d").delete(place)


@pytest.mark.parametrize(
    "options",
    [
        {"k3s_args": ("--disable=traefik,servicelb@server:0",)},
        {"k3s_args": "--disable servicelb@server:*"},
        {
            "config": {
                "kind": "Simple",
                "apiVersion": "k3d.io/v1alpha5",
                "options": {"k3s": {"extraArgs": [{"arg": "--disable=servicelb", "nodeFilters": ["server:*"]}]}},
            }
        },
    ],
)
def test_a_loadbalancer_needs_servicelb(options: dict[str, object]) -> None:
    """Which the user may have switched off; without the need that is nobody's business."""
    pairs = tuple((key, as_option(value)) for key, value in options.items())
    with pytest.raises(SpecError, match="servicelb of k3s does, and provider_options disable that"):
        find("k3d").validate(ClusterSpec(needs=("loadbalancer",), provider_options=pairs))
    find("k3d").validate(ClusterSpec(provider_options=pairs))
    find("k3d").validate(
        ClusterSpec(needs=("loadbalancer",), provider_options=(("k3s_args", "--disable=traefik@server:0"),))
    )


@pytest.mark.parametrize("bridged", [True, False])
def test_a_loadbalancers_address_must_be_reached(new_user: NewUser, bridged: bool) -> None:
    """It is a node's, which is no use where containers have a network of their own."""
    user = new_user(bridged=bridged)
    place, needy = user.place(), ClusterSpec(needs=("loadbalancer",))
    if bridged:
        find("k3d").create(needy, place, user.recorder.bind(), 60.0)
    else:
        with pytest.raises(ProvisionError, match=rf"does not reach {user.host.network}\.\d+: .*refused") as caught:
            find("k3d").create(needy, place, user.recorder.bind(), 60.0)
        assert "neither rootless nor in a virtual machine" in str(caught.value)
    find("k3d").delete(place)


def test_auto_takes_k3d_for_a_loadbalancer(user: User) -> None:
    """Those before it say what they lack."""
    choice = Auto({}).choose(ClusterSpec(needs=("loadbalancer",)))
    assert choice.name == "k3d"
    assert [name for name, why in choice.refused.items() if why == "it has no loadbalancer"][-1] == "kind"
    assert "kina: it has no loadbalancer" in choice.reasons
    assert user.host.machines() == {}


@pytest.mark.parametrize(("system", "claimed"), [("linux", True), ("darwin", False)])
def test_a_mac_reaches_no_container(monkeypatch: pytest.MonkeyPatch, system: str, claimed: bool) -> None:
    """There, engines run in a virtual machine: nothing is claimed that nobody could use."""
    monkeypatch.setattr(sys, "platform", system)
    assert ("loadbalancer" in find("k3d").info.capabilities) is claimed
    assert "loadbalancer" not in find("kind").info.capabilities


def test_lost_race_for_a_port_is_run_again(user: User) -> None:
    """``container k8s`` probes a port and uses it later: the loser tries again, and gives up after three times."""
    place = user.place()
    taken = {"text": "bind: Address already in use"}
    user.host.inject(**{"k8s create, booted": {**taken, "times": 2}})
    user.create(place, "apple_k8s")
    find("apple_k8s").delete(place)
    user.host.inject(**{"k8s create, booted": taken})
    before = user.host.rows().count("P1")
    with pytest.raises(ProvisionError, match="Address already in use"):
        user.create(user.place(), "apple_k8s")
    assert user.host.rows().count("P1") == before + 3
    user.host.heal()
    for name in user.host.machines():
        find("apple_k8s").delete(user.place(name))
    assert user.host.machines() == {}


def test_kubeconfig_that_was_not_written_is_asked_for(user: User) -> None:
    """A warning of the tool's, and a second command."""
    user.host.inject(**{"k8s kubeconfig": {"times": 1}})
    place = user.place()
    user.create(place, "apple_k8s", cpus=2, memory_mib=2048)
    assert "P2" in user.host.rows()
    assert find("apple_k8s").check(place) is None
    find("apple_k8s").delete(place)
