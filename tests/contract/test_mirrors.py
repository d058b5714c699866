"""Registries have mirrors: what we pull, what nodes are told, what is refused, and what happens without a network."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cli import main
from pytest_kina.errors import ProvisionError, SettingsError
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.settings import Project, Settings, resolve
from pytest_kina.spec import ClusterSpec, fingerprint
from tests.contract.conftest import User

NewUser = Callable[..., User]
OURS = {"docker.io": "mirror.example.com/hub"}
PLAIN = {"docker.io": "http://plain.example.com:5000/hub"}
ALL = ["kina", "apple_k8s", "kind", "k3d"]


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user with all tools, and a root of its own."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    return new_user(container="1.2.2")


def settled(*, table: Any = None, **sources: Any) -> Settings:
    """Settings with mirrors from somewhere."""
    project = Project(path=Path("/p/pyproject.toml"), options={"image_mirrors": table} if table is not None else {})
    return resolve(flags=sources.get("flags", {}), environ=sources.get("environ", {}), project=project)


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("kindest/node:v1.36.1", "mirror.example.com/hub/kindest/node:v1.36.1"),
        ("docker.io/kindest/node:v1.36.1", "mirror.example.com/hub/kindest/node:v1.36.1"),
        ("busybox", "mirror.example.com/hub/library/busybox:latest"),
        ("ghcr.io/me/node:v1.36.1", "ghcr.io/me/node:v1.36.1"),
        ("mirror.example.com/hub/kindest/node:v1", "mirror.example.com/hub/kindest/node:v1"),
        ("kindest/node@sha256:00", "mirror.example.com/hub/kindest/node@sha256:00"),
    ],
)
def test_references_move_to_the_mirror_of_their_registry(image: str, reference: str) -> None:
    """Short names are of Docker Hub; what has no mirror stays as it was written."""
    assert Mirrors(OURS).reference(image) == reference
    assert Mirrors().reference(image) == image


@pytest.mark.parametrize(
    ("mirror", "url", "endpoint"),
    [
        ("m.example", "https://m.example/v2", {"endpoint": ["https://m.example"]}),
        ("m:5000/a/b", "https://m:5000/v2/a/b", {"endpoint": ["https://m:5000"], "rewrite": {"^(.*)$": "a/b/$1"}}),
        ("http://m:5000", "http://m:5000/v2", {"endpoint": ["http://m:5000"]}),
        (
            "http://10.0.0.5:5000/a",
            "http://10.0.0.5:5000/v2/a",
            {"endpoint": ["http://10.0.0.5:5000"], "rewrite": {"^(.*)$": "a/$1"}},
        ),
    ],
)
def test_nodes_are_told_in_their_own_words(tmp_path: Path, mirror: str, url: str, endpoint: dict[str, Any]) -> None:
    """Containerd gets the path in the URL, k3s a rewrite; without a path there is none."""
    mirrors = Mirrors({"docker.io": mirror, "ghcr.io": "other.example"})
    folder = mirrors.write_hosts(tmp_path / "certs.d")
    assert sorted(path.name for path in folder.iterdir()) == ["docker.io", "ghcr.io"]
    said = tomllib.loads((folder / "docker.io" / "hosts.toml").read_text())
    assert said == {"host": {url: {"capabilities": ["pull", "resolve"], "override_path": True}}}
    assert mirrors.registries()["mirrors"]["docker.io"] == endpoint


@pytest.mark.parametrize(
    ("given", "mirrors"),
    [
        ({"table": {"docker.io": "mirror.example.com/hub", "ghcr.io": "m:5000"}}, {**OURS, "ghcr.io": "m:5000"}),
        (
            {"flags": {"image_mirrors": "docker.io=mirror.example.com/hub, ghcr.io=m:5000"}},
            {**OURS, "ghcr.io": "m:5000"},
        ),
        ({"environ": {"KINA_IMAGE_MIRRORS": "docker.io=mirror.example.com/hub"}, "table": {"a.io": "b.io"}}, OURS),
        ({"table": {"docker.io": "http://10.0.0.5:5000/hub"}}, {"docker.io": "http://10.0.0.5:5000/hub"}),
        ({"flags": {"image_mirrors": "docker.io=http://registry:5000"}}, {"docker.io": "http://registry:5000"}),
        ({}, {}),
    ],
)
def test_every_source_can_name_them(given: dict[str, Any], mirrors: dict[str, str]) -> None:
    """A table of the project, or text; the nearer source decides as a whole."""
    assert settled(**given).image_mirrors == mirrors


@pytest.mark.parametrize(
    "value",
    [
        "docker.io",
        "docker.io=",
        "=mirror.example.com",
        "docker.io=https://mirror.example.com",
        "docker.io=http://",
        "docker.io=ftp://mirror.example.com",
        "http://docker.io=mirror.example.com",
        "docker.io=mirror.example.com/",
        "docker.io=a.io,docker.io=b.io",
        "hub=mirror.example.com",
        "docker.io=Mirror.Example.com/Hub Two",
        {"docker.io": 5},
        {"docker.io": ["a.io"]},
        ["docker.io"],
    ],
)
def test_what_is_no_mirror_is_refused(value: Any) -> None:
    """With its place, the form, and an example."""
    with pytest.raises(SettingsError) as caught:
        settled(table=value)
    assert "[tool.kina] image_mirrors in /p/pyproject.toml: expected REGISTRY=MIRROR pairs" in str(caught.value)
    assert "docker.io=mirror.example.com/dockerhub" in str(caught.value)


@pytest.mark.parametrize("provider", ALL)
def test_node_images_are_pulled_from_the_mirror(user: User, provider: str) -> None:
    """And from nowhere else; the cluster is told apart from one without."""
    spec, mirrored = ClusterSpec(), find(provider, {"image_mirrors": OURS})
    identity = mirrored.prepare(spec, silent)
    assert identity["node_image"].startswith("mirror.example.com/hub/")
    assert identity["kubernetes"] == "v1.36.1"
    pulled = [call["argv"][-1] for call in user.host.calls() if call["row"] in ("O3", "A9")]
    assert [image for image in pulled if "k3d-io" not in image] == [identity["node_image"].split()[0]]
    plain = find(provider).prepare(spec, silent)
    assert fingerprint(spec, provider, identity) != fingerprint(spec, provider, plain)


def test_a_mirror_without_tls_is_one_by_its_host() -> None:
    """Whatever else is at the same host is spoken to alike; a short name is of no mirror."""
    mirrors = Mirrors({"docker.io": "http://m:5000/hub", "ghcr.io": "other.example/x"})
    assert mirrors.reference("busybox") == "m:5000/hub/library/busybox:latest"
    assert mirrors.plain("m:5000/hub/library/busybox:latest")
    assert not mirrors.plain("other.example/x/app:1")
    assert not mirrors.plain("busybox")


@pytest.mark.parametrize("provider", ["kina", "apple_k8s"])
def test_container_is_told_of_a_mirror_without_tls(user: User, provider: str) -> None:
    """By its own flag, for that mirror only."""
    find(provider, {"image_mirrors": PLAIN}).prepare(ClusterSpec(), silent)
    find(provider).prepare(ClusterSpec(), silent)
    pulls = [call["argv"] for call in user.host.calls("container") if call["row"] == "A9"]
    assert [pull[2:] for pull in pulls] == [
        ["--platform", "linux/arm64", "--scheme", "http", "plain.example.com:5000/hub/kindest/node:v1.36.1"],
        ["--platform", "linux/arm64", "kindest/node:v1.36.1"],
    ]


@pytest.mark.parametrize(("engine", "flag"), [("podman", "--tls-verify=false"), ("nerdctl", "--insecure-registry")])
def test_engines_are_told_of_a_mirror_without_tls(new_user: NewUser, tmp_path: Path, engine: str, flag: str) -> None:
    """Each by its own flag; its nodes by the URL in their configuration."""
    user = new_user(tools=("kind", engine))
    tool, place = find("kind", {"image_mirrors": PLAIN, "root": tmp_path / "root"}), user.place()
    identity = tool.prepare(ClusterSpec(), silent)
    assert identity["node_image"].startswith("plain.example.com:5000/hub/kindest/node:v1.36.1 sha256:")
    assert flag in next(call["argv"] for call in user.host.calls(engine) if call["row"] == "O3")
    tool.create(ClusterSpec(), place, user.recorder.bind(), 60.0)
    (node,) = user.host.machines().values()
    assert '[host."http://plain.example.com:5000/v2/hub"]' in node["mirrors"]["docker.io"]
    tool.delete(place)


def test_docker_must_know_of_a_mirror_without_tls(user: User) -> None:
    """It takes that from its daemon's configuration alone: said so, until it does; k3s is told by the URL."""
    tool, place = find("k3d", {"image_mirrors": PLAIN}), user.place()
    with pytest.raises(
        ProvisionError, match=r"(?s)HTTP response to HTTPS client.*name the mirror in `insecure-registries`"
    ):
        tool.prepare(ClusterSpec(), silent)
    user.host.set(insecure_registries=["plain.example.com:5000"])
    tool.prepare(ClusterSpec(), silent)
    tool.create(ClusterSpec(), place, user.recorder.bind(), 60.0)
    told = user.host.machines()[f"k3d-{place.name}-server-0"]["mirrors"]["mirrors"]["docker.io"]
    assert told == {"endpoint": ["http://plain.example.com:5000"], "rewrite": {"^(.*)$": "hub/$1"}}
    tool.delete(place)


@pytest.mark.parametrize("provider", ["kind", "k3d"])
def test_nodes_pull_from_the_mirror_too(user: User, provider: str) -> None:
    """Every node reads it; one without mirrors is told nothing."""
    for options, words in (({"image_mirrors": OURS}, "mirror.example.com"), ({}, "")):
        place, tool = user.place(), find(provider, options)
        tool.create(ClusterSpec(workers=1), place, user.recorder.bind(), 60.0)
        nodes = [machine["mirrors"] for machine in user.host.machines().values() if "mirrors" in machine]
        assert len(nodes) == 2
        assert all(words in json.dumps(node) if words else node == {} for node in nodes)
        tool.delete(place)


def test_a_configuration_that_has_mirrors_keeps_them(user: User) -> None:
    """What the user mounts there is not covered by ours."""
    theirs = {"hostPath": str(user.host.home), "containerPath": "/etc/containerd/certs.d"}
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": [theirs]}],
    }
    spec = ClusterSpec(provider_options=(("config", json.dumps(config)),))
    place, tool = user.place(), find("kind", {"image_mirrors": OURS})
    tool.create(spec, place, user.recorder.bind(), 60.0)
    assert json.loads((place.directory / "kind.json").read_text())["nodes"] == config["nodes"]
    tool.delete(place)


@pytest.mark.parametrize("provider", ALL)
def test_offline_pulls_nothing(user: User, provider: str) -> None:
    """What is missing is named, with the way to get it; what is there suffices."""
    offline = find(provider, {"offline": True})
    with pytest.raises(ProvisionError, match=r"the image .* is not on this machine, .*forbids pulling.*\n.*prefetch"):
        offline.prepare(ClusterSpec(), silent)
    assert not {"O3", "A9"} & set(user.host.rows())
    there = find(provider).prepare(ClusterSpec(), silent)
    assert offline.prepare(ClusterSpec(), silent) == there


def test_prefetch_uses_mirrors(
    user: User, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the project says, and what it fetched is what an offline run finds."""
    project = '[tool.kina]\nprovider = "kind"\nimage_mirrors = {"docker.io" = "mirror.example.com/hub"}\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.chdir(tmp_path)
    assert main(["prefetch", "--offline"]) == 1
    assert "mirror.example.com/hub/kindest/node:v1.36.1 is not on this machine" in capsys.readouterr().err
    for arguments in (["prefetch"], ["prefetch", "--offline"]):
        assert main(arguments) == 0
        assert "node_image: mirror.example.com/hub/kindest/node:v1.36.1 sha256:" in capsys.readouterr().out
