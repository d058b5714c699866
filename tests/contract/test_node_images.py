"""A node image as an archive: loaded once into whatever makes the nodes, and known by its content."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.spec import ClusterSpec, fingerprint
from tests.contract.conftest import User
from tests.support.simulators import packed

NewUser = Callable[..., User]
IMAGE = {
    "kina": "docker.io/kindest/node:v1.36.1",
    "apple_k8s": "docker.io/kindest/node:v1.36.1",
    "kind": "docker.io/kindest/node:v1.36.1",
    "k3d": "docker.io/rancher/k3s:v1.36.1-k3s1",
}
LOADS = ("A15", "O11")
"""Invocations that load an archive: of ``container``, and of docker."""


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user whose registries have no node image, and a root of their own."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    helpers = ["ghcr.io/k3d-io/k3d-proxy:5.8.3", "ghcr.io/k3d-io/k3d-tools:5.8.3"]
    return new_user(container="1.2.2", pullable=helpers)


def archived(path: Path, *images: str, digit: int = 1) -> ClusterSpec:
    """A spec whose node image is an archive of ``images``."""
    path.write_bytes(packed({image: f"sha256:{str(digit) * 64}" for image in images}, index=False))
    return ClusterSpec(provider_options=(("node_image", str(path)),))


@pytest.mark.parametrize("provider", IMAGE)
def test_nodes_are_made_of_an_archive(user: User, tmp_path: Path, provider: str) -> None:
    """Loaded once, whoever else comes; the nodes are of that content, and nothing was pulled for them."""
    spec, place = archived(tmp_path / "node.tar.gz", IMAGE[provider]), user.place()
    with ThreadPoolExecutor(3) as threads:
        identities = list(threads.map(lambda _: find(provider).prepare(spec, silent), range(3)))
    assert identities[0]["kubernetes"] == "v1.36.1"
    assert {identity["node_image"].partition(" ")[2] for identity in identities} == {f"sha256:{'1' * 64}"}
    find(provider).create(spec, place, user.recorder.bind(), 60.0)
    node = next(machine for machine in user.host.machines().values() if not machine["name"].endswith("serverlb"))
    assert node["image"] == identities[0]["node_image"].partition(" ")[0]
    assert sum(user.host.rows().count(row) for row in LOADS) == 1
    find(provider).delete(place)


def test_other_content_is_another_cluster(user: User, tmp_path: Path) -> None:
    """Two archives that call their images alike are both there; a file that was saved anew is loaded anew."""
    specs = [archived(tmp_path / f"{digit}.tar", IMAGE["kind"], digit=digit) for digit in (1, 2)]
    identities = [find("kind").prepare(spec, silent) for spec in specs]
    assert len({fingerprint(specs[0], "kind", identity) for identity in identities}) == 2
    archived(tmp_path / "1.tar", IMAGE["kind"], digit=3)
    os.utime(tmp_path / "1.tar", (1, 1))
    assert find("kind").prepare(specs[0], silent)["node_image"].endswith("3" * 64)
    assert find("kind").prepare(specs[1], silent) == identities[1]


def test_an_archive_needs_no_network(user: User, tmp_path: Path) -> None:
    """Offline, and past every mirror."""
    options = {"offline": True, "image_mirrors": {"docker.io": "mirror.example.com"}}
    identity = find("kind", options).prepare(archived(tmp_path / "a.tar", IMAGE["kind"]), silent)
    assert identity["node_image"].startswith("localhost/kina-")


@pytest.mark.parametrize("provider", IMAGE)
def test_what_is_no_archive_of_one_node_image_is_refused_at_collection(
    user: User, tmp_path: Path, provider: str
) -> None:
    """Without any tool: a file that is not there, one that is something else, and one with several images."""
    (tmp_path / "b.tar").write_text("garbage")
    for name, reason in (("absent.tar", "cannot be read: No such file"), ("b.tar", "is not an image archive")):
        with pytest.raises(SpecError, match=reason):
            find(provider).validate(ClusterSpec(provider_options=(("node_image", str(tmp_path / name)),)))
    with pytest.raises(SpecError, match=r"has several images: docker.io/library/a:1, docker.io/library/b:1"):
        find(provider).validate(archived(tmp_path / "c.tar", "docker.io/library/a:1", "docker.io/library/b:1"))
    assert user.host.calls() == []


@pytest.mark.parametrize("provider", ["kind", "k3d", "apple_k8s"])
def test_the_name_in_the_archive_tells_the_version(tmp_path: Path, provider: str) -> None:
    """As that of any other node image must."""
    with pytest.raises(SpecError, match="has no tag like"):
        find(provider).validate(archived(tmp_path / "a.tar", "docker.io/library/node:latest"))


@pytest.mark.parametrize("provider", ["kina", "kind"])
def test_a_load_that_fails_is_told_and_tried_again(user: User, tmp_path: Path, provider: str) -> None:
    """In the words of the engine, with the archive's path."""
    spec = archived(tmp_path / "a.tar", IMAGE[provider])
    user.host.inject(**{"image load": {"text": "no space left on device", "times": 1}})
    with pytest.raises(ProvisionError, match=f"could not load {tmp_path}/a.tar: .*no space left on device"):
        find(provider).prepare(spec, silent)
    assert find(provider).prepare(spec, silent)["kubernetes"] == "v1.36.1"
