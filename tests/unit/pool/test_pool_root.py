"""The root directory: made privately, and refused wherever its locks or its secrets could not be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.errors import StateError
from pytest_kina.pool import open_root, root
from pytest_kina.pool.root import network_file_system


def test_every_directory_is_private(tmp_path: Path) -> None:
    """The root and all it holds are for their owner only."""
    opened = open_root(tmp_path / "new" / "root")
    made = [opened.path, *opened.path.glob("*/")]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}
    assert {path.name for path in made[1:]} == {
        *("slots", "processes", "builds", "starts", "clusters", "runs", "binaries", "templates")
    }


def test_the_pool_keeps_its_name(tmp_path: Path) -> None:
    """Opening it again finds the same pool id, of 6 hex digits."""
    first, second = open_root(tmp_path / "root"), open_root(tmp_path / "root")
    assert first == second
    assert len(first.pool_id) == 6
    assert int(first.pool_id, 16) >= 0


def test_processes_that_begin_at_once_agree_on_the_name(tmp_path: Path) -> None:
    """Six processes that make the root at the same time read one pool id, and leave no file of an election."""
    program = (
        "import sys; from pathlib import Path; from pytest_kina.pool import open_root;"
        "import filelock; sys.stdin.readline(); print(open_root(Path(sys.argv[1])).pool_id)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "root")]
    racers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    names = {racer.communicate()[0].strip() for racer in racers}
    assert names == {open_root(tmp_path / "root").pool_id}
    assert [path.name for path in (tmp_path / "root").iterdir() if path.is_file()] == ["pool.json"]


def test_the_environment_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KINA_HOME decides when no path is given."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "named"))
    assert open_root().path == tmp_path / "named"


@pytest.mark.skipif(sys.platform != "linux", reason="the place of user state is named otherwise there")
def test_without_a_name_it_is_in_the_users_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without path and KINA_HOME the user's state directory is taken."""
    monkeypatch.delenv("KINA_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert open_root().path == tmp_path / "pytest-kina"


def test_a_link_is_refused(tmp_path: Path) -> None:
    """A symbolic link is refused, and the message names what it leads to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StateError, match="symbolic link") as caught:
        open_root(tmp_path / "link")
    assert str(tmp_path / "real") in str(caught.value)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """A file where the directory should be is named."""
    (tmp_path / "root").touch()
    with pytest.raises(StateError, match=r"root is not a directory.*\nNext step: set KINA_HOME"):
        open_root(tmp_path / "root")


def test_an_open_directory_with_content_is_refused(tmp_path: Path) -> None:
    """A directory that others may read, and that holds something, is refused with the command that helps."""
    place = tmp_path / "root"
    place.mkdir()
    (place / "thesis.txt").touch()
    place.chmod(0o755)
    with pytest.raises(StateError, match=r"mode 0755.*\nNext step: chmod 700"):
        open_root(place)
    assert place.stat().st_mode & 0o777 == 0o755


def test_what_is_made_on_the_way_is_private_too(tmp_path: Path) -> None:
    """Whatever the umask: who may write to a directory above the root could put another one in its place."""
    before = os.umask(0)
    try:
        opened = open_root(tmp_path / "a" / "b" / "root")
    finally:
        os.umask(before)
    above = [tmp_path / "a", tmp_path / "a" / "b"]
    assert {path.stat().st_mode & 0o777 for path in (*above, opened.path, *opened.path.glob("*/"))} == {0o700}
    assert (opened.path / "pool.json").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_everybody_may_change_is_no_way_to_the_root(tmp_path: Path) -> None:
    """Without the sticky bit others could rename the root; with it, as in /tmp, they cannot."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(StateError, match=r"shared, where everybody can put another.*\nNext step: chmod \+t"):
        open_root(shared / "mine" / "root")
    assert list(shared.iterdir()) == []
    shared.chmod(0o1777)
    assert open_root(shared / "mine" / "root").path.is_dir()


@pytest.mark.parametrize("name", ["/dev/null/below", "{}/file/below/deep"])
def test_what_is_no_directory_is_no_way_to_the_root(tmp_path: Path, name: str) -> None:
    """It is named as what it is, whoever may write to it; nobody is told to change the mode of a device."""
    (tmp_path / "file").touch()
    with pytest.raises(
        StateError, match=r"is below /.*(null|file), which is not a directory\nNext step: set KINA_HOME"
    ):
        open_root(Path(name.format(tmp_path)))


@pytest.mark.skipif(os.geteuid() != 0, reason="making a link of another user needs root, as CI has it")
def test_a_link_of_somebody_else_is_no_way_to_the_root(tmp_path: Path) -> None:
    """Its owner could point it elsewhere at any time; a link of our own on the way is taken."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert open_root(link / "root").path.is_dir()
    os.lchown(link, 65534, 65534)
    with pytest.raises(StateError, match="a link of user 65534, who can point it elsewhere"):
        open_root(link / "root")


def test_what_is_planted_in_an_open_directory_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or link that others put there while it was still open is not taken over with the directory."""
    place = tmp_path / "root"
    place.mkdir()
    place.chmod(0o777)
    close = Path.chmod

    def plant(path: Path, mode: int) -> None:
        (path / "slots").symlink_to(tmp_path)
        close(path, mode)

    monkeypatch.setattr(Path, "chmod", plant)
    with pytest.raises(StateError, match="is open to other users"):
        open_root(place)


def test_an_open_empty_directory_is_closed(tmp_path: Path) -> None:
    """An empty directory, as `mkdir` makes it, is simply taken."""
    place = tmp_path / "root"
    place.mkdir()
    place.chmod(0o755)
    open_root(place)
    assert place.stat().st_mode & 0o777 == 0o700


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:30 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/me/fast\\040disk rw - xfs /dev/sdb1 rw
32 22 0:31 / /mnt/win rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/kina", None),
        ("/home/me/.local/state", "nfs4"),
        ("/home/me/fast disk/kina", None),
        ("/mnt/win/kina", "fuse.sshfs"),
        ("/homework", None),
    ],
)
def test_network_file_systems_are_recognised(tmp_path: Path, path: str, kind: str | None) -> None:
    """The innermost mount that the path is on decides, with blanks in its name decoded."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS, encoding="utf-8")
    assert network_file_system(Path(path), table) == kind


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the file system's type, and nothing is made below the root."""
    monkeypatch.setattr(root, "network_file_system", lambda _: "nfs4")
    with pytest.raises(StateError, match=r"network file system \(nfs4\)"):
        open_root(tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_locks_that_do_not_exclude_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system on which a second lock succeeds while the first is held cannot carry a pool."""
    monkeypatch.setattr(root, "try_lock", _Granted)
    with pytest.raises(StateError, match="do not exclude each other"):
        open_root(tmp_path / "root")


class _Granted:
    def __init__(self, path: Path) -> None:
        path.touch()

    def release(self) -> None:
        """Nothing is held."""


def test_a_newer_pool_is_refused(tmp_path: Path) -> None:
    """A pool of a newer version is left alone."""
    open_root(tmp_path / "root")
    name = tmp_path / "root" / "pool.json"
    name.write_text(json.dumps({"schema": 99, "id": "abcdef"}), encoding="utf-8")
    with pytest.raises(StateError, match="newer version"):
        open_root(tmp_path / "root")
    assert json.loads(name.read_text(encoding="utf-8"))["id"] == "abcdef"


def test_a_torn_name_is_moved_aside(tmp_path: Path) -> None:
    """A malformed pool.json gets a successor, and stays as evidence."""
    open_root(tmp_path / "root")
    (tmp_path / "root" / "pool.json").write_text('{"sch', encoding="utf-8")
    assert len(open_root(tmp_path / "root").pool_id) == 6
    assert len(list((tmp_path / "root").glob("pool.json.torn-*"))) == 1


def test_a_pool_without_a_name_is_refused(tmp_path: Path) -> None:
    """A pool.json of the right schema without an id is named, instead of being overwritten."""
    open_root(tmp_path / "root")
    (tmp_path / "root" / "pool.json").write_text('{"schema": 1}', encoding="utf-8")
    with pytest.raises(StateError, match="has no text `id`"):
        open_root(tmp_path / "root")
