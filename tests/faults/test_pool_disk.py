"""Disks that are full, read-only or somebody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.errors import StateError
from pytest_kina.pool import open_root
from tests.support.pool_kit import Kit

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and changing the user needs root, as CI has it")


def on_a_disk(story: str, disk: Path) -> Any:
    """What happened in a story of :mod:`tests.support.pool_disks`, told in a name space where its disk is mounted."""
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.support.pool_disks", story, str(disk)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout)


@needs_root
def test_a_full_disk_is_an_error_that_leaves_nothing_running(tmp_path: Path) -> None:
    """Without room for the intent no cluster is begun; the message names the file and what to do; room heals it."""
    seen = on_a_disk("full", tmp_path / "disk")
    assert f"the record {tmp_path}/disk/root/slots/0.json cannot be written: No space left" in seen["said"]
    assert "make room on that disk, or set KINA_HOME" in seen["said"]
    assert seen["left"] == [[], ["EMPTY", "EMPTY"], [False, False]]
    assert seen["healed"] == "fresh"


@needs_root
def test_a_disk_that_fills_up_can_still_be_cleaned(tmp_path: Path) -> None:
    """Deleting needs no room: on a full disk the clusters of a run are deleted all the same."""
    seen = on_a_disk("cleaned", tmp_path / "disk")
    assert len(seen["before"]) == 1
    assert seen["left"] == [[], ["EMPTY", "EMPTY"]]


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
    assert kit.clusters() == []
    assert not any(each.held for each in kit.pool.status())
    monkeypatch.delenv("KINA_CRASH")
    kit.pool.tidy()
    assert (kit.clusters(), kit.states()) == ([], ["EMPTY", "EMPTY"])
    kit.pool.close()


@needs_root
def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """A root on a disk that became read-only, or that cannot be made there, is refused with the next step."""
    said = on_a_disk("read_only", tmp_path / "disk")
    assert "is on a read-only disk" in said["root"]
    assert "other cannot be made: Read-only file system" in said["other"]
    assert all("Next step: set KINA_HOME" in text for text in said.values())


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
