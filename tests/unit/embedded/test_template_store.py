"""Templates on disk: found, copied, refused when anything differs, evicted. No process is started."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.providers.embedded import sparse, templates
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.spec import ClusterSpec

DAY = 86_400


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A cluster's directory with its empty folders."""
    made = Layout(tmp_path / "cluster")
    made.directory.mkdir()
    made.make()
    return made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., templates.Template]:
    """Writes a template as a cluster would have left it, of the given age and size."""

    def written(key: str = "0123456789abcdef", *, age: float = 0.0, size: int = 5000) -> templates.Template:
        directory = tmp_path / "templates" / key
        content = directory / "content"
        (content / "etcd/member/wal").mkdir(parents=True)
        (content / "etcd/member/db").write_bytes(os.urandom(size))
        with (content / "etcd/member/wal/0.wal").open("wb") as log:
            log.write(b"begin")
            log.truncate(8_000_000)
        for name in ("serving-ca.crt", "serving-ca.key"):
            (content / name).write_text(name)
        digest = sparse.copy_tree(content, tmp_path / f"copy-{key}")
        about = {"created": time.time() - age, "digest": digest, "uid": "u", "kubernetes": "v1.36.3", "spec": {}}
        (directory / "template.json").write_text(json.dumps({"schema": 1, **about}))
        found = templates.find(directory)
        return found or templates.Template(directory=directory, **about)

    return written


# ---- copies


def test_a_copy_has_the_content_the_holes_and_private_modes(tmp_path: Path) -> None:
    """A log of 64 MB that is almost empty stays almost empty, wherever its data is."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    with (source / "deep/log").open("wb") as log:
        log.write(b"begin")
        log.seek(40_000_000)
        log.write(b"middle")
        log.truncate(64_000_000)
    (source / "empty").touch()
    sparse.copy_tree(source, tmp_path / "copy")
    copied = tmp_path / "copy/deep/log"
    assert copied.read_bytes() == (source / "deep/log").read_bytes()
    assert copied.stat().st_blocks * 512 <= 4 * 64 * 1024
    assert (tmp_path / "copy/empty").stat().st_size == 0
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "copy").rglob("*")}
    assert modes == {0o600, 0o700}
    assert sparse.allocated_bytes(tmp_path / "copy") == sum(
        512 * path.stat().st_blocks for path in (copied, tmp_path / "copy/empty")
    )


def test_zeros_on_disk_and_holes_have_the_same_digest(tmp_path: Path) -> None:
    """What a file system makes of zeros changes no digest; a changed byte, name or size does."""

    def digest(name: str, files: dict[str, bytes]) -> str:
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(content)
        return sparse.copy_tree(tmp_path / name, tmp_path / f"{name}-copy")

    written = digest("zeros", {"a": bytes(500_000) + b"x"})
    assert sparse.copy_tree(tmp_path / "zeros-copy", tmp_path / "again") == written
    others = [
        {"a": bytes(500_000) + b"y"},
        {"b": bytes(500_000) + b"x"},
        {"a": bytes(500_001) + b"x"},
        {"a": bytes(500_000)},
    ]
    digests = {digest(f"other-{number}", files) for number, files in enumerate(others)}
    assert len(digests | {written}) == 5


def test_a_file_system_without_holes_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot seek to data, copies and digests are the same."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/log").write_bytes(b"a" * 70_000 + bytes(300_000) + b"z")
    expected = sparse.copy_tree(tmp_path / "source", tmp_path / "one")

    def refuse(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    assert sparse.copy_tree(tmp_path / "source", tmp_path / "two") == expected
    assert (tmp_path / "two/log").read_bytes() == (tmp_path / "source/log").read_bytes()


# ---- using


def test_unpacking_fills_a_clusters_folders(make: Callable[..., templates.Template], layout: Layout) -> None:
    """Data and authority are where a start looks for them, nothing else is left, and the use is noted."""
    template = make()
    os.utime(template.directory / "template.json", (1.0, 1.0))
    assert template.unpack(layout)
    assert (layout.etcd / "member/db").read_bytes() == (template.directory / "content/etcd/member/db").read_bytes()
    assert (layout.pki / "serving-ca.key").read_text() == "serving-ca.key"
    assert not layout.work.exists()
    assert template.used > 1.0


def changed(path: Path) -> None:
    """Flip a byte of the file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "another byte in the data": lambda content: changed(content / "etcd/member/db"),
    "another authority": lambda content: changed(content / "serving-ca.crt"),
    "truncated": lambda content: os.truncate(content / "etcd/member/db", 100),
    "a file is missing": lambda content: (content / "serving-ca.key").unlink(),
    "a file more": lambda content: (content / "etcd/member/more").touch(),
    "no content": lambda content: os.replace(content, content.with_name("away")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_not_as_it_was_kept_is_removed(
    make: Callable[..., templates.Template], layout: Layout, damage: Callable[[Path], None]
) -> None:
    """Nothing of it reaches the cluster, and the next fresh cluster makes another."""
    template = make()
    damage(template.directory / "content")
    assert not template.unpack(layout)
    assert not template.directory.exists()
    assert list(layout.data.iterdir()) == list(layout.pki.iterdir()) == []
    assert not layout.work.exists()
    assert list(template.directory.parent.iterdir()) == []


def test_a_template_that_vanishes_while_it_is_copied_is_none(
    make: Callable[..., templates.Template], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may evict it at any time: then the start is a fresh one, not an error."""
    template = make()
    blocks = sparse._blocks

    def vanish(descriptor: int, size: int) -> object:
        template.discard("evicted by another process")
        return blocks(descriptor, size)

    monkeypatch.setattr(sparse, "_blocks", vanish)
    assert not template.unpack(layout)
    assert list(layout.pki.iterdir()) == []


@pytest.mark.parametrize(
    "document",
    ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "created": 0}', '{"schema": 1, "created": "then", "digest": ""}'],
)
def test_what_has_no_usable_description_is_no_template(make: Callable[..., templates.Template], document: str) -> None:
    """Torn, foreign or newer: it is as if it were not there."""
    template = make()
    (template.directory / "template.json").write_text(document)
    assert templates.find(template.directory) is None
    assert templates.found(template.directory.parent) == []


@pytest.mark.parametrize(("age", "usable"), [(6.9 * DAY, True), (7.1 * DAY, False), (-60.0, False)])
def test_old_templates_and_those_of_the_future_are_not_used(
    make: Callable[..., templates.Template], age: float, usable: bool
) -> None:
    """Certificates expire; a clock that went back makes the age a lie."""
    assert (templates.find(make(age=age).directory) is not None) == usable


def test_keys_differ_with_what_a_cluster_contains() -> None:
    """Equal specs and binaries share a template; another version, node or binary does not."""
    identity = {"kubernetes": "v1.36.3", "digest etcd": "1"}
    same = templates.key_of(ClusterSpec(version="1.36"), identity)
    assert templates.key_of(ClusterSpec(version="1.36.3"), identity) == same
    assert templates.key_of(ClusterSpec(simulated_nodes=2), identity) != same
    assert templates.key_of(ClusterSpec(), identity | {"digest etcd": "2"}) != same
    assert templates.key_of(ClusterSpec(feature_gates=(("A", True),)), identity) != same


# ---- evicting


def test_evicting_keeps_what_was_used_last(make: Callable[..., templates.Template], tmp_path: Path) -> None:
    """Beyond the limit the least recently used ones go; so do the old, the unusable and the half removed."""
    for number, used in enumerate((30, 10, 20)):
        template = make(f"{number:016x}", size=200_000)
        os.utime(template.directory / "template.json", (time.time() - used,) * 2)
    make("aaaaaaaaaaaaaaaa", age=8 * DAY)
    store = tmp_path / "templates"
    (store / ".0123.77.1").mkdir()
    (store / "stranger").mkdir()
    size = template.size
    templates.evict(store, bytes_allowed=2 * size)
    assert sorted(path.name for path in store.iterdir()) == [f"{1:016x}", f"{2:016x}"]
    templates.evict(store, bytes_allowed=size - 1)
    assert list(store.iterdir()) == []


def test_of_two_that_make_the_same_template_the_first_stays(
    make: Callable[..., templates.Template], tmp_path: Path
) -> None:
    """Both are as good; moving one over the other would pull it away under a reader."""
    template = make()
    (tmp_path / "made/content").mkdir(parents=True)
    templates._install(tmp_path / "made", template.directory)
    assert templates.find(template.directory) == template


def test_a_template_replaces_one_that_is_too_old(make: Callable[..., templates.Template], tmp_path: Path) -> None:
    """What is not used any more does not keep its successor away."""
    old = make(age=9 * DAY)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/new").touch()
    templates._install(tmp_path / "made", old.directory)
    assert [path.name for path in old.directory.iterdir()] == ["new"]


def test_who_dies_while_removing_a_template_leaves_it_to_the_next(
    make: Callable[..., templates.Template], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has lost its name at once, so nobody starts from a half of it, and the next eviction removes the rest."""
    template = make()
    monkeypatch.setenv("KINA_CRASH", "template.remove.before:raise")
    with pytest.raises(RuntimeError, match="crash point"):
        templates.remove(template.directory)
    monkeypatch.delenv("KINA_CRASH")
    assert templates.found(template.directory.parent) == []
    assert len(list(template.directory.parent.iterdir())) == 1
    templates.evict(template.directory.parent)
    assert list(template.directory.parent.iterdir()) == []
