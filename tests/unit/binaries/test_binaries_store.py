"""The store: whole entries or none, one maker at a time, and what a reader believes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent

Make = Callable[[str, str], Entry]
KWOK = Version(0, 8, 0)

HOLDER = """
import sys
from pathlib import Path
from pytest_kina.binaries.platforms import current
from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Store
from pytest_kina.progress import silent
store = Store(Path(sys.argv[1]), current())
with store.lock("kwok-v0.8.0-" + store.platform.suffix, "making kwok v0.8.0", silent):
    with store.staging("kwok", Version(0, 8, 0)) as staging:
        (staging / "kwok").write_text("half")
        print("held", flush=True)
        sys.stdin.readline()
"""


@contextmanager
def holding(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of kwok v0.8.0 and has written half of it."""
    argv = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def damage(entry: Entry, name: str) -> None:
    """Change one byte of a file, as a bad disk or a curious user does."""
    content = bytearray(entry.path(name).read_bytes())
    content[-2] ^= 1
    entry.path(name).write_bytes(content)
    os.utime(entry.path(name), ns=(1, 1))


def test_a_published_entry_is_found(store: Store, stored: Make) -> None:
    """What was published is found with the digests of its files, and nothing temporary stays."""
    made = stored("etcd", "3.6.16")
    found = store.find("etcd", Version(3, 6, 16))
    assert found == made
    assert sorted(found.files) == ["etcd", "etcdutl"]
    assert found.digest("etcd") != found.digest("etcdutl")
    assert [path.name for path in store.directory.iterdir()] == [found.name]


def test_unchanged_files_are_not_read(store: Store, stored: Make) -> None:
    """With the recorded size and time, a file is believed without being opened."""
    entry = stored("kwok", "0.8.0")
    before = entry.path("kwok").stat()
    damage(entry, "kwok")
    os.utime(entry.path("kwok"), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find("kwok", KWOK) == entry


def test_a_changed_file_is_refused(store: Store, stored: Make) -> None:
    """A file with another content is refused with both digests."""
    entry = stored("kwok", "0.8.0")
    damage(entry, "kwok")
    with pytest.raises(BinaryError, match=f"was changed: SHA-256 .*, expected {entry.digest('kwok')}"):
        store.find("kwok", KWOK)


def test_a_copied_store_is_restored(store: Store, stored: Make) -> None:
    """A copy that lost times, modes and links works again, and the new times are recorded."""
    with store.staging("kubernetes", Version(1, 36, 3)) as staging:
        (staging / "kube-server").write_bytes(b"server")
        (staging / "kube-scheduler").symlink_to("kube-server")
        entry = store.publish(staging, "kubernetes", Version(1, 36, 3), "the test")
    (entry.directory / "kube-scheduler").unlink()
    (entry.directory / "kube-server").chmod(0o600)
    os.utime(entry.directory / "kube-server", ns=(5, 5))
    found = store.find("kubernetes", Version(1, 36, 3))
    assert found.path("kube-scheduler").readlink() == Path("kube-server")
    assert os.access(found.path("kube-scheduler"), os.X_OK)
    assert found.digest("kube-scheduler") == entry.files["kube-server"].sha256
    recorded = json.loads((entry.directory / Entry.FILE).read_text())
    assert recorded["files"]["kube-server"]["mtime_ns"] == 5


def test_a_missing_file_is_named(store: Store, stored: Make) -> None:
    """An entry that lost an executable is refused by its path."""
    entry = stored("etcd", "3.6.16")
    entry.path("etcdutl").unlink()
    with pytest.raises(BinaryError, match=r"etcdutl is missing"):
        store.find("etcd", Version(3, 6, 16))


@pytest.mark.parametrize("content", [None, "", "{", '{"schema": 1}', "[]"])
def test_only_a_readable_mark_makes_an_entry(store: Store, stored: Make, content: str | None) -> None:
    """Without COMPLETE, or with one that is torn or foreign, there is no entry."""
    mark = stored("kwok", "0.8.0").directory / Entry.FILE
    if content is None:
        mark.unlink()
    else:
        mark.write_text(content)
    with pytest.raises(BinaryError, match=r"is not complete|does not describe an entry"):
        store.find("kwok", KWOK)


def test_an_absent_entry_is_said_to_be_absent(store: Store) -> None:
    """The error for an entry that never was has its place."""
    with pytest.raises(BinaryError, match=r"kwok-v0\.8\.0-.* does not exist"):
        store.find("kwok", KWOK)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden", "a/b", ""])
def test_names_in_a_mark_stay_inside(store: Store, stored: Make, name: str) -> None:
    """A COMPLETE that names a file outside of its directory is refused."""
    entry = stored("kwok", "0.8.0")
    document = json.loads((entry.directory / Entry.FILE).read_text())
    document["aliases"] = {"kwok": name}
    (entry.directory / Entry.FILE).write_text(json.dumps(document))
    with pytest.raises(BinaryError, match="not a plain file name"):
        store.find("kwok", KWOK)


def test_a_renamed_entry_is_not_another_version(store: Store, stored: Make) -> None:
    """A directory that was renamed does not become the version that its name says."""
    entry = stored("kwok", "0.8.0")
    entry.directory.rename(entry.directory.with_name(f"kwok-v0.9.0-{store.platform.suffix}"))
    with pytest.raises(BinaryError, match=r"holds kwok-v0\.8\.0"):
        store.find("kwok", Version(0, 9, 0))


def test_versions_are_complete_ones_of_this_platform(root: Path, store: Store, stored: Make) -> None:
    """Versions are listed newest first; unfinished entries and other platforms do not count."""
    for version in ("0.8.0", "0.10.0", "0.9.1"):
        stored("kwok", version)
    (stored("kwok", "0.11.0").directory / Entry.FILE).unlink()
    assert list(map(str, store.versions("kwok"))) == ["v0.10.0", "v0.9.1", "v0.8.0"]
    assert Store(root, Platform("darwin", "mips")).versions("kwok") == []


def test_a_failed_maker_leaves_nothing(store: Store) -> None:
    """When filling fails, no entry and no temporary directory is left."""

    def fill() -> None:
        with store.staging("kwok", KWOK) as staging:
            (staging / "kwok").write_text("half")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fill()
    assert list(store.directory.iterdir()) == []


def test_a_damaged_entry_is_replaced(store: Store, stored: Make) -> None:
    """Publishing again replaces a damaged entry as a whole."""
    entry = stored("kwok", "0.8.0")
    damage(entry, "kwok")
    (entry.directory / "stray").write_text("")
    stored("kwok", "0.8.0")
    assert sorted(path.name for path in store.find("kwok", KWOK).directory.iterdir()) == [Entry.FILE, "kwok"]


def test_second_process_waits_and_says_for_whom(root: Path, store: Store) -> None:
    """Who comes second learns the process, its work and since when, and goes on when that one is done."""
    told: list[str] = []

    def progress(what: str, step: int = 0, steps: int = 0) -> None:
        told.append(what)
        process.stdin.write("\n")
        process.stdin.flush()

    with holding(root) as process:
        assert process.stdin is not None
        with store.lock(f"kwok-v0.8.0-{store.platform.suffix}", "making kwok", progress):
            assert process.wait(timeout=20) == 0
    assert told[0].startswith(f"waiting for process {process.pid}, making kwok v0.8.0 since ")


def test_killed_maker_frees_the_lock_and_its_half_is_removed(root: Path, store: Store, stored: Make) -> None:
    """After SIGKILL nothing looks finished, the next one gets the lock, and removes the half that was left."""
    with holding(root) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
    assert store.versions("kwok") == []
    left = list(store.directory.glob(".tmp-*"))
    assert len(left) == 1
    with store.lock(f"kwok-v0.8.0-{store.platform.suffix}", "making kwok", silent):
        stored("kwok", "0.8.0")
    assert not left[0].exists()
    assert store.find("kwok", KWOK).source == "the test"


def test_sweep_takes_what_is_dead_and_leaves_what_is_at_work(root: Path, store: Store) -> None:
    """Half-made entries of dead processes go away; those of a living one stay."""
    dead = store.directory / f".tmp-etcd-v3.6.16-{store.platform.suffix}-12345678"
    dead.mkdir(parents=True)
    with holding(root) as process:
        store.sweep()
        assert not dead.exists()
        assert len(list(store.directory.glob(".tmp-kwok-*"))) == 1
        process.kill()
        process.wait(timeout=20)
        store.sweep()
        assert list(store.directory.glob(".tmp-*")) == []


def test_a_removed_entry_is_gone_and_absent_is_fine(store: Store, stored: Make) -> None:
    """Removing works once and is harmless twice."""
    entry = stored("kwok", "0.8.0")
    store.remove(entry.directory)
    store.remove(entry.directory)
    assert not entry.directory.exists()
    assert store.directories() == []


def test_store_directories_are_private(store: Store, stored: Make) -> None:
    """Nobody else can look into an entry, or put something into it."""
    entry = stored("kwok", "0.8.0")
    assert entry.directory.stat().st_mode & 0o077 == 0
    shutil.rmtree(entry.directory)


def test_an_entry_of_a_newer_version_is_left_alone(store: Store, stored: Make) -> None:
    """It is neither used nor replaced nor removed, and the error says what to do."""
    entry = stored("kwok", "0.8.0")
    mark = entry.directory / Entry.FILE
    mark.write_text(json.dumps({"schema": 99, "was": json.loads(mark.read_text())}))
    before = {path: path.read_bytes() for path in entry.directory.iterdir()}

    def stage() -> None:
        with store.staging("kwok", KWOK):
            pytest.fail("minutes of work would be for nothing")

    for act in (lambda: store.find("kwok", KWOK), stage, lambda: store.remove(entry.directory)):
        with pytest.raises(BinaryError, match="newer version of pytest-kina, and is left alone") as caught:
            act()
        assert "upgrade pytest-kina" in str(caught.value)
    assert {path: path.read_bytes() for path in entry.directory.iterdir()} == before
