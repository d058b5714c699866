"""Disks that are full, read-only or somebody else's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_kina.errors import StateError
from pytest_kina.pool import open_root
from tests.support.pool_kit import Kit

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and changing the user needs root, as CI has it")


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A small disk in memory at ``path``; the value mounts it again with other options."""

    def mount(given: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", given, "tmpfs", str(path)], check=True)

    path.mkdir()
    mount(options)
    try:
        yield lambda given: mount(f"remount,{given}")
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@needs_root
def test_a_full_disk_is_an_error_that_leaves_nothing_running(tmp_path: Path) -> None:
    """Without room for the intent no cluster is begun; the message names the file and what to do; room heals it."""
    with mounted(tmp_path / "disk", "size=256k,mode=0700"):
        kit = Kit(tmp_path / "disk" / "root", lease_timeout=0.2)
        fill(tmp_path / "disk" / "ballast")
        with pytest.raises(StateError, match=r"the record .*0\.json cannot be written: No space left") as caught:
            kit.lease()
        assert "make room on that disk, or set KINA_HOME" in str(caught.value)
        assert (kit.clusters(), kit.states()) == ([], ["EMPTY", "EMPTY"])
        (tmp_path / "disk" / "ballast").unlink()
        kit.lease().release()
        kit.pool.close()


@needs_root
def test_a_disk_that_fills_up_can_still_be_cleaned(tmp_path: Path) -> None:
    """Deleting needs no room: on a full disk the clusters of a run are deleted all the same."""
    with mounted(tmp_path / "disk", "size=256k,mode=0700"):
        kit = Kit(tmp_path / "disk" / "root", ttl=0.0)
        kit.lease("fresh").release()
        fill(tmp_path / "disk" / "ballast")
        kit.pool.retire()
        assert (kit.clusters(), kit.states()) == ([], ["EMPTY", "EMPTY"])
        kit.pool.close()


@needs_root
@pytest.mark.parametrize(
    "point", ["record.DOOMED.before", "directory.make.before", "create.before", "record.DIRTY.before"]
)
def test_room_that_ends_in_the_middle_leaves_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Wherever the disk fills up while a cluster is made, the holder deletes it, unlocks, and says why."""
    kit = Kit(tmp_path / "root", lease_timeout=0.2)
    monkeypatch.setenv("KINA_CRASH", f"{point}:enospc")
    with pytest.raises(Exception, match="No space left"):
        kit.lease()
    assert not any(each.held for each in kit.pool.status())
    monkeypatch.delenv("KINA_CRASH")
    kit.pool.tidy()
    assert (kit.clusters(), kit.states()) == ([], ["EMPTY", "EMPTY"])
    kit.pool.close()


@needs_root
def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """A root on a disk that became read-only, or that cannot be made there, is refused with the next step."""
    with mounted(tmp_path / "disk", "size=256k,mode=0700") as remount:
        open_root(tmp_path / "disk" / "root")
        remount("ro")
        with pytest.raises(StateError, match=r"read-only disk.*\n*.*KINA_HOME"):
            open_root(tmp_path / "disk" / "root")
        with pytest.raises(StateError, match="cannot be made: Read-only file system"):
            open_root(tmp_path / "disk" / "other")


@needs_root
def test_a_root_of_another_user_is_refused(tmp_path: Path) -> None:
    """Another user's directory is refused with both users named, whether or not it may be written."""
    place = tmp_path / "root"
    open_root(place)
    os.chown(place, 65534, 65534)
    with pytest.raises(StateError, match="belongs to user 65534, but we run as user 0"):
        open_root(place)


@needs_root
def test_an_ordinary_user_is_refused_the_root_of_another(tmp_path: Path) -> None:
    """Without the rights of root the same directory is refused too, and so is one that cannot be made."""
    open_root(tmp_path / "root")
    program = (
        "import os, sys; from pathlib import Path; import filelock; from pytest_kina.pool import open_root;"
        "from pytest_kina.errors import StateError; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for name in sys.argv[1:]:\n"
        "    try: open_root(Path(name))\n"
        "    except StateError as error: print(error.message)"
    )
    # pytest's own directories are closed to other users, and what is asked here is not whether one may walk there.
    opened = [path for path in (tmp_path, *tmp_path.parents) if path.stat().st_mode & 0o005 != 0o005]
    modes = [path.stat().st_mode for path in opened]
    try:
        for path in opened:
            path.chmod(0o755)
        argv = [sys.executable, "-c", program, str(tmp_path / "root"), str(tmp_path / "mine")]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    finally:
        for path, mode in zip(opened, modes, strict=True):
            path.chmod(mode)
    first, second = done.stdout.splitlines()
    assert "belongs to user 0, but we run as user 65534" in first
    assert "cannot be made: Permission denied" in second
