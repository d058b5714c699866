"""Archives from elsewhere, and bundles that travel."""

import json
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.binaries.archives import bundle, import_bundle, unpack
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from tests.support.release_server import tar

Make = Callable[[str, str], Entry]
KWOK = Version(0, 8, 0)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """One member of a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


SUSPICIOUS = {
    "absolute": member("/etc/cron.d/x"),
    "parent": member("etcd/../../x"),
    "backslash": member("etcd\\..\\x"),
    "symlink": member("etcd/link", tarfile.SYMTYPE, "etcd"),
    "hard link": member("etcd/link", tarfile.LNKTYPE, "etcd/etcd"),
    "device": member("etcd/null", tarfile.CHRTYPE),
    "pipe": member("etcd/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_suspicious_tar_is_refused_as_a_whole(tmp_path: Path, kind: str) -> None:
    """One bad member is enough: nothing of the archive is written."""
    archive = tmp_path / "etcd.tar.gz"
    archive.write_bytes(tar({"etcd/etcd": b"program"}, SUSPICIOUS[kind]))
    with pytest.raises(BinaryError, match=r"the archive contains '.*refused as a whole"):
        unpack(archive, {"etcd": tmp_path / "etcd"})
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["etcd.tar.gz"]


@pytest.mark.parametrize(("name", "mode"), [("../x", stat.S_IFREG), ("/x", stat.S_IFREG), ("x", stat.S_IFLNK)])
def test_suspicious_zip_is_refused_as_a_whole(tmp_path: Path, name: str, mode: int) -> None:
    """The same holds for zip archives, whose links hide in an attribute."""
    archive = tmp_path / "etcd.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("etcd/etcd", b"program")
        info = zipfile.ZipInfo(name)
        info.external_attr = (mode | 0o644) << 16
        file.writestr(info, b"/etc/passwd")
    with pytest.raises(BinaryError, match="refused as a whole"):
        unpack(archive, {"etcd": tmp_path / "etcd"})
    assert not (tmp_path / "etcd").exists()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_only_what_is_wanted_is_written(tmp_path: Path, kind: str) -> None:
    """The wanted files come out of their folder; documents and other programs stay inside."""
    archive = tmp_path / f"etcd.{kind}"
    files = {"etcd-v3/README.md": b"read me", "etcd-v3/etcd": b"program", "etcd-v3/etcdctl": b"other"}
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            file.mkdir("etcd-v3")
            for name, content in files.items():
                file.writestr(name, content)
    else:
        archive.write_bytes(tar(files, member("etcd-v3/docs", tarfile.DIRTYPE)))
    unpack(archive, {"etcd": tmp_path / "etcd"})
    assert (tmp_path / "etcd").read_bytes() == b"program"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["etcd", archive.name]


def test_missing_member_is_named(tmp_path: Path) -> None:
    """An archive without the program that we came for is refused by its name."""
    archive = tmp_path / "etcd.tar.gz"
    archive.write_bytes(tar({"etcd/etcd": b"program"}))
    with pytest.raises(BinaryError, match=r"etcd\.tar\.gz does not contain etcdutl"):
        unpack(archive, {"etcdutl": tmp_path / "etcdutl"})


@pytest.mark.parametrize("content", [b"", b"no archive", tar({"etcd/etcd": bytes(range(256)) * 64})[:200]])
def test_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is no archive, or only the beginning of one, is refused in one sentence."""
    archive = tmp_path / "etcd.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(BinaryError, match=r"is not a readable archive: .*\nNext step: get it again: it is damaged"):
        unpack(archive, {"etcd": tmp_path / "etcd"})


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz"])
def test_bundle_travels(tmp_path: Path, here: Platform, stored: Make, name: str) -> None:
    """What one store bundles, another one imports: same files, same digests, and the way that it came."""
    entries = [stored("kwok", "0.8.0"), stored("kubernetes", "1.36.3")]
    bundle(entries, tmp_path / name)
    other = Store(tmp_path / "elsewhere", here)
    assert [entry.name for entry in import_bundle(tmp_path / name, other, silent)] == sorted(e.name for e in entries)
    found = other.find("kubernetes", Version(1, 36, 3))
    assert {file.sha256 for file in found.files.values()} == {file.sha256 for file in entries[1].files.values()}
    assert found.source == f"imported from {name}; the test"
    assert list(tmp_path.glob(".*.tmp")) == []


def test_a_bundle_that_cannot_be_written_says_so(tmp_path: Path, stored: Make) -> None:
    """The file that was asked for is named, not the temporary one, with what to do."""
    with pytest.raises(
        BinaryError, match=r"absent/b\.tar cannot be written: No such file.*\nNext step: name a file in"
    ):
        bundle([stored("kwok", "0.8.0")], tmp_path / "absent" / "b.tar")


def test_aliases_travel_without_links(
    tmp_path: Path, here: Platform, store: Store, program: Callable[..., Path]
) -> None:
    """A bundle holds no link; the importing side makes the aliases anew."""
    version = Version(1, 36, 3)
    with store.staging("kubernetes", version) as staging:
        program(staging, "kube-apiserver", "v1.36.3").rename(staging / "kube-server")
        for alias in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            (staging / alias).symlink_to("kube-server")
        bundle([store.publish(staging, "kubernetes", version, "the test")], tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert [member.isfile() for member in archive] == [True, True]
    other = Store(tmp_path / "elsewhere", here)
    import_bundle(tmp_path / "b.tar", other, silent)
    assert other.find("kubernetes", version).path("kube-scheduler").resolve().name == "kube-server"


def test_import_leaves_what_is_there(tmp_path: Path, store: Store, stored: Make) -> None:
    """An entry that the store has already is not touched."""
    entry = stored("kwok", "0.8.0")
    bundle([entry], tmp_path / "b.tar")
    assert import_bundle(tmp_path / "b.tar", store, silent) == [entry]
    assert store.find("kwok", KWOK) == entry


def rewritten(source: Path, target: Path, **changes: object) -> Path:
    """The bundle ``source`` with another COMPLETE (keys of it), other content, or one more file."""
    with tarfile.open(source) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    mark = next(name for name in files if name.endswith(Entry.FILE))
    extra = changes.pop("extra", None)
    if "content" in changes:
        files[mark.replace(Entry.FILE, "kwok")] = bytes(changes.pop("content"))  # type: ignore[call-overload]
    if isinstance(extra, str):
        files[mark.replace(Entry.FILE, extra)] = b"stowaway"
    files[mark] = json.dumps(json.loads(files[mark]) | changes).encode()
    target.write_bytes(tar(files))
    return target


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"content": b"x" * 9}, "in the archive has 9 bytes, expected"),
        ({"extra": "stowaway"}, "does not hold what its COMPLETE says"),
        ({"version": "v0.9.0"}, "does not hold what its COMPLETE says"),
        ({"schema": 2}, "was written by a newer version of pytest-kina"),
        ({"files": {"../kwok": {"sha256": "", "size": 1, "mtime_ns": 1}}}, "not a plain file name"),
        ({"files": 3}, "does not describe an entry"),
    ],
)
def test_bundle_that_was_tampered_with_is_refused(
    tmp_path: Path, here: Platform, stored: Make, changes: dict[str, object], words: str
) -> None:
    """A bundle must hold exactly what it says; otherwise nothing of it is kept."""
    bundle([stored("kwok", "0.8.0")], tmp_path / "b.tar")
    other = Store(tmp_path / "elsewhere", here)
    with pytest.raises(BinaryError, match=words):
        import_bundle(rewritten(tmp_path / "b.tar", tmp_path / "bad.tar.gz", **changes), other, silent)
    assert other.directories() == []


def test_bundle_with_another_content_of_the_same_size_is_refused(tmp_path: Path, here: Platform, stored: Make) -> None:
    """The digest counts, not the size."""
    entry = stored("kwok", "0.8.0")
    bundle([entry], tmp_path / "b.tar")
    other = Store(tmp_path / "elsewhere", here)
    bad = rewritten(tmp_path / "b.tar", tmp_path / "bad.tar.gz", content=bytes(entry.size))
    with pytest.raises(BinaryError, match=f"SHA-256 [0-9a-f]{{64}}, expected {entry.digest('kwok')}"):
        import_bundle(bad, other, silent)
    assert other.directories() == []


def test_bundle_of_another_platform_is_refused(tmp_path: Path, stored: Make, here: Platform) -> None:
    """A bundle made on another kind of machine is refused with both platforms."""
    bundle([stored("kwok", "0.8.0")], tmp_path / "b.tar")
    other = Store(tmp_path / "elsewhere", Platform("darwin", "arm64"))
    with pytest.raises(BinaryError, match=f"is made for {here}, this machine is darwin/arm64"):
        import_bundle(tmp_path / "b.tar", other, silent)


def test_empty_bundle_says_what_is_expected(tmp_path: Path, store: Store) -> None:
    """A tar without entries is not silently fine."""
    (tmp_path / "b.tar").write_bytes(tar({}))
    with pytest.raises(BinaryError, match="is empty; expected what `pytest-kina binaries bundle` writes"):
        import_bundle(tmp_path / "b.tar", store, silent)


def test_folder_without_a_mark_is_refused(tmp_path: Path, store: Store) -> None:
    """An archive of something else is refused by the folder that it has."""
    (tmp_path / "b.tar").write_bytes(tar({"kwok-v0.8.0-linux-amd64/kwok": b"program"}))
    with pytest.raises(BinaryError, match=r"kwok-v0\.8\.0-linux-amd64 in the archive has no COMPLETE"):
        import_bundle(tmp_path / "b.tar", store, silent)
