"""Images of this machine: archives by content, loads that are proven, and fetching all of it beforehand."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kina.cli import main
from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.images import archives
from pytest_kina.providers import find
from pytest_kina.providers.containers.archives import Archives, full_reference, references_in
from pytest_kina.testing import FakeProvider
from tests.contract.conftest import User

NewUser = Callable[..., User]
FULL = "docker.io/library/app:test"
ALL = ["kina", "apple_k8s", "kind", "k3d"]
PULLS = ("A9", "O3")
"""Invocations that pull: of ``container``, and of docker."""


def packed(path: Path, **documents: object) -> Path:
    """A tar file with JSON documents; ``__`` in a name stands for a dot."""
    with tarfile.open(path, "w") as archive:
        for name, document in documents.items():
            source = path.with_name(name)
            source.write_text(json.dumps(document))
            archive.add(source, name.replace("__", "."))
    return path


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user with one image, and a root of its own."""
    made = new_user(container="1.2.2")
    made.host.images(**{FULL: f"sha256:{'1' * 64}"})
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    return made


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:test", FULL),
        ("me/app:1", "docker.io/me/app:1"),
        ("ghcr.io/me/app", "ghcr.io/me/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app", "host:5000/app:latest"),
        ("app@sha256:0123", "docker.io/library/app@sha256:0123"),
    ],
)
def test_names_are_completed_as_engines_do(short: str, full: str) -> None:
    """The form under which a kubelet finds an image."""
    assert full_reference(short) == full


def test_names_are_read_from_both_kinds_of_archives(tmp_path: Path) -> None:
    """OCI image layout, and what ``docker save`` writes."""
    oci = packed(
        tmp_path / "oci.tar",
        index__json={"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "app:test"}}]},
    )
    docker = packed(tmp_path / "docker.tar", manifest__json=[{"RepoTags": ["app:test", "me/app:1"]}], index__json={})
    assert references_in(oci) == [FULL]
    assert references_in(docker) == [FULL, "docker.io/me/app:1"]


@pytest.mark.parametrize(
    "content", [{}, {"index__json": {"manifests": [{}]}}, {"index__json": [1]}, {"manifest__json": 1}]
)
def test_what_is_no_archive_is_an_error(tmp_path: Path, content: dict[str, object]) -> None:
    """Nothing inside, no names, other documents."""
    with pytest.raises(ProvisionError, match=r"is not an image archive|names no image"):
        references_in(packed(tmp_path / "a.tar", **content))


def test_archive_is_saved_once_for_many_at_once(tmp_path: Path) -> None:
    """Eight threads want the same content: one saves it, nobody sees half of it."""
    saved = []

    def save(path: Path) -> None:
        saved.append(path)
        packed(path, manifest__json=[{"RepoTags": ["app:test"]}])

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: Archives(tmp_path / "a").obtain("sha256:1", save), range(8)))
    assert len(saved) == 1
    assert {references_in(path)[0] for path in found} == {FULL}
    assert Archives(tmp_path / "a").obtain("sha256:2", save) not in found


def test_failed_save_leaves_nothing(tmp_path: Path) -> None:
    """Neither half a file nor one that is no archive is kept."""

    def save(path: Path) -> None:
        path.write_text("garbage")

    with pytest.raises(ProvisionError, match="is not an image archive"):
        Archives(tmp_path / "a").obtain("sha256:1", save)
    assert [path.suffix for path in (tmp_path / "a").iterdir()] == [".lock"]


def test_archives_that_nobody_wants_are_removed(tmp_path: Path) -> None:
    """After a month."""
    save = lambda path: packed(path, manifest__json=[{"RepoTags": ["app:test"]}])  # noqa: E731
    kept = Archives(tmp_path / "a")
    old, new = (kept.obtain(digest, save) for digest in ("sha256:1", "sha256:2"))
    os.utime(old.with_suffix(".lock"), (0, 0))
    kept.obtain("sha256:2", save)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("provider", ALL)
def test_missing_image_says_what_to_do(user: User, provider: str) -> None:
    """The name, that no registry has it either, and that it must be built."""
    with pytest.raises(
        ProvisionError, match=r"has no image 'nothing:1' on this machine, and could not pull nothing:1: "
    ) as caught:
        archives(find(provider), ["nothing:1"])
    assert "build it, correct its name" in str(caught.value)


@pytest.mark.parametrize("provider", ALL)
def test_absent_image_is_pulled_once_and_archived(user: User, provider: str) -> None:
    """Whoever comes at the same time waits for it; the next one finds image and archive."""
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: archives(find(provider), ["app:1"])["app:1"], range(3)))
    assert len({*found, archives(find(provider), ["app:1"])["app:1"]}) == 1
    assert references_in(found[0]) == ["docker.io/library/app:1"]
    assert sum(user.host.rows().count(row) for row in PULLS) == 1


@pytest.mark.parametrize("provider", ALL)
def test_absent_image_is_pulled_from_the_mirror_under_its_own_name(user: User, provider: str) -> None:
    """Pods name the registry that they know."""
    told: list[str] = []
    mirrored = find(provider, {"image_mirrors": {"docker.io": "mirror.example.com/hub"}})
    archive = archives(mirrored, ["app:1"], lambda what, *_: told.append(what))["app:1"]
    assert references_in(archive) == ["docker.io/library/app:1"]
    assert told == ["pulling mirror.example.com/hub/library/app:1"]
    pulled = [call["argv"][-1] for call in user.host.calls() if call["row"] in PULLS]
    assert pulled == ["mirror.example.com/hub/library/app:1"]


@pytest.mark.parametrize("provider", ALL)
def test_absent_image_is_not_pulled_offline(user: User, provider: str) -> None:
    """It is named, with the way to have it; one that is there suffices."""
    offline = find(provider, {"offline": True})
    with pytest.raises(
        ProvisionError, match=r"the image app:1 is not on this machine, .*forbids pulling it\n.*prefetch"
    ):
        archives(offline, ["app:1"])
    assert not set(PULLS) & set(user.host.rows())
    assert archives(offline, ["app:test"])["app:test"].is_file()


def test_image_with_a_digest_is_refused(user: User) -> None:
    """Nothing in an archive says under which name a pod would look for it."""
    with pytest.raises(SpecError, match="has a digest, and archives keep names with tags only"):
        archives(find("kind"), [f"app@sha256:{'0' * 64}"])
    assert user.host.calls() == []


def test_rebuilt_image_is_saved_again(user: User) -> None:
    """The same name with other content is another archive."""
    provider = find("kina")
    first = archives(provider, ["app:test"])
    user.host.images(**{FULL: f"sha256:{'2' * 64}"})
    assert archives(provider, ["app:test"]) != first
    assert archives(provider, ["app:test", "docker.io/library/app:test"])["app:test"].is_file()


def test_archive_may_be_named_itself(tmp_path: Path) -> None:
    """A provider that knows no images takes archives; what is missing is an error of the spec."""
    path = packed(tmp_path / "app.tar", manifest__json=[{"RepoTags": ["app:test"]}])
    assert archives(FakeProvider(), [str(path)]) == {str(path): path}
    with pytest.raises(SpecError, match="there is no archive"):
        archives(FakeProvider(), [str(tmp_path / "other.tar")])
    with pytest.raises(SpecError, match="'fake' knows no images of this machine by name"):
        archives(FakeProvider(), ["app:test"])


@pytest.mark.parametrize("provider", ["kind", "k3d"])
def test_load_that_does_not_arrive_is_an_error(user: User, provider: str) -> None:
    """The tool says that it loaded it; the kubelet does not find it."""
    place = user.place()
    user.create(place, provider)
    one = find(provider)
    archive = one.save_image("app:test")  # type: ignore[attr-defined]
    user.host.inject(**{"lost load": {"times": 1}})
    with pytest.raises(ProvisionError, match=f"{FULL} was loaded, but pods on .* do not find it"):
        one.load_image(place, archive, 30)  # type: ignore[attr-defined]
    one.load_image(place, archive, 30)  # type: ignore[attr-defined]
    one.delete(place)


@pytest.mark.parametrize("provider", ["kina", "apple_k8s"])
def test_failed_import_says_in_which_cluster(user: User, provider: str) -> None:
    """Containerd refuses it: the cluster, the archive, and what was said."""
    place = user.place()
    user.create(place, provider)
    one = find(provider)
    archive = one.save_image("app:test")  # type: ignore[attr-defined]
    user.host.inject(**{"ctr import": {"text": "no space left on device", "times": 1}})
    with pytest.raises(ProvisionError, match=rf"(?s){place.name}: .*could not be loaded.*no space left"):
        one.load_image(place, archive, 30)  # type: ignore[attr-defined]


def test_prefetch_has_node_images_and_archives_at_hand(
    user: User, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every spec of the project, each once, with images that are absent; the second time nothing is pulled or saved."""
    images = 'images = ["app:test", "app:1"]'
    project = f'[tool.kina]\nprovider = "kind"\n[tool.kina.clusters.old]\nversion = "1.35"\n{images}\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["prefetch", "--json"]) == 0
        done = json.loads(capsys.readouterr().out)["prefetched"]
    assert [entry["identity"]["kubernetes"] for entry in done] == ["v1.36.1", "v1.35.5"]
    assert Path(done[1]["images"]["app:test"]).is_file()
    assert Path(done[1]["images"]["app:1"]).is_file()
    assert (user.host.rows().count("O3"), user.host.rows().count("O4")) == (3, 2)
    assert main(["prefetch", "old", "--offline"]) == 0
    assert user.host.machines() == {}


def test_prefetch_tells_people_what_is_there(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    """One spec by options, with one more image."""
    assert main(["prefetch", "--provider", "kina", "--version", "1.36", "--image", "app:test"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("kina: Kubernetes v1.36.1\n  node_image: kindest/node:v1.36.1 sha256:")
    assert "  runtime: kina 0.2.0, container 1.2.2\n  image app:test: " in said


def test_prefetch_fails_with_the_reason(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    """An image that is nowhere."""
    assert main(["prefetch", "--provider", "kind", "--image", "nothing:1"]) == 1
    assert "has no image 'nothing:1'" in capsys.readouterr().err
