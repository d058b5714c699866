"""What the doctor says of the root directory and its disk: with real locks, real processes and real mounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kina.doctor import place
from pytest_kina.doctor.findings import Finding, Level
from pytest_kina.pool import open_root

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and changing the user needs root, as CI has it")

# Mounts what it is told to, in a name space of its own, and prints the levels of the findings.
MOUNTED = """
import json, subprocess, sys
from pathlib import Path
from pytest_kina.doctor.place import findings
from pytest_kina.pool import open_root
disk, options, again = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
open_root(disk / "root")
if again:
    subprocess.run(["mount", "-o", *again, str(disk)], check=True)
print(json.dumps({each.subject: [each.level.value, each.what, each.remedy] for each in findings(disk / "root")}))
"""


def levels(root: Path) -> dict[str, str]:
    """The level of each finding."""
    return {each.subject: each.level.value for each in place.findings(root)}


def only(root: Path) -> Finding:
    """The only finding, when nothing else is worth looking at."""
    (found,) = place.findings(root)
    return found


def test_a_good_root_is_good_and_stays_as_it_is(tmp_path: Path) -> None:
    """Locks are tried by two processes, and nothing of the trial is left."""
    root = open_root(tmp_path / "root").path
    before = sorted(root.rglob("*"))
    assert levels(root) == {"root": "ok", "locks": "ok", "disk": "ok", "files on the disk": "ok"}
    assert sorted(root.rglob("*")) == before


def test_a_root_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    """The directory that it would be made in is looked at instead."""
    found = list(place.findings(tmp_path / "a" / "b"))
    assert (found[0].level, found[0].what) == (Level.OK, f"{tmp_path}/a/b does not exist; {tmp_path} is writable")
    assert str(tmp_path) in found[1].what
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_refused_is_bad_with_the_remedy_of_the_refusal(tmp_path: Path) -> None:
    """A directory open to others, and a link, in the words of the error that a run would meet."""
    shared, link = tmp_path / "shared", tmp_path / "link"
    shared.mkdir()
    (shared / "file").touch()
    shared.chmod(0o777)
    link.symlink_to(shared)
    assert "mode 0777" in only(shared).what
    assert only(shared).remedy.startswith("chmod 700")
    assert "symbolic link" in only(link).what


def test_locks_that_do_not_exclude_another_process_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what another process sees: here it looks at another file, as on a disk that keeps locks apart."""
    monkeypatch.setattr(place, "_TRY", place._TRY.replace("sys.argv[1]", "sys.argv[1] + '.elsewhere'"))
    found = next(each for each in place.findings(open_root(tmp_path / "root").path) if each.subject == "locks")
    assert (found.level, bool(found.remedy)) == (Level.BAD, True)
    assert "two processes hold one lock" in found.what


def test_a_lock_that_cannot_be_tried_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the other process cannot even begin, the finding has its words."""
    monkeypatch.setattr(place, "_TRY", "raise SystemExit('no module')")
    found = next(each for each in place.findings(open_root(tmp_path / "root").path) if each.subject == "locks")
    assert found.level is Level.BAD
    assert "no module" in found.what


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a directory in which nobody can make a file")
def test_a_place_where_no_file_can_be_made_is_bad() -> None:
    """Although it looks writable to a superuser."""
    found = list(place.findings(Path("/proc/nowhere")))
    assert found[-1 if len(found) == 1 else 1].level is Level.BAD
    assert "KINA_HOME" in found[-1 if len(found) == 1 else 1].remedy


def test_a_network_file_system_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a root is made there, too."""
    monkeypatch.setattr(place, "network_file_system", lambda _: "nfs4")
    assert levels(tmp_path / "new")["locks"] == "bad"


def test_a_clock_that_was_set_back_is_a_warning(tmp_path: Path) -> None:
    """Records from the future would never have been idle."""
    root = open_root(tmp_path / "root")
    record = root.slots / "0.json"
    record.write_text("{}")
    os.utime(record, (time.time() + 3600, time.time() + 3600))
    assert levels(root.path)["clock"] == "warning"


def mounted(tmp_path: Path, options: str, *again: str) -> dict[str, list[str]]:
    """The findings on a small disk in memory, mounted where only the asker sees it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["unshare", "--mount", sys.executable, "-c", MOUNTED, str(disk), options, *again]
    found: dict[str, list[str]] = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return found


@needs_root
def test_a_disk_without_room_is_bad(tmp_path: Path) -> None:
    """Too small for one cluster, in bytes and in files."""
    found = mounted(tmp_path, "size=8m,nr_inodes=100,mode=0700")
    assert (found["disk"][0], found["files on the disk"][0]) == ("bad", "bad")
    assert found["disk"][2].startswith("make room there")


@needs_root
def test_a_disk_that_runs_no_programs_is_bad(tmp_path: Path) -> None:
    """Binaries in the store could not be executed."""
    found = mounted(tmp_path, "size=2g,mode=0700,noexec")
    assert (found["noexec"][0], found["disk"][0]) == ("bad", "ok")


@needs_root
def test_a_read_only_disk_is_bad(tmp_path: Path) -> None:
    """It is refused as a run would refuse it, with what to do."""
    level, what, remedy = mounted(tmp_path, "size=8m,mode=0700", "remount,ro")["root"]
    assert (level, "read-only disk" in what, "KINA_HOME" in remedy) == ("bad", True, True)


@needs_root
def test_a_place_that_an_ordinary_user_may_not_write_is_bad(tmp_path: Path) -> None:
    """Asked by another user, for whom the root would have to be made where he may not."""
    program = (
        "import os, sys; from pathlib import Path; from pytest_kina.doctor.place import findings; import filelock\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(*[f'{each.level.value}: {each.what}' for each in findings(Path('/etc/kina-doctor/root'))], sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "bad: /etc/kina-doctor/root cannot be made: /etc is not writable\n"
