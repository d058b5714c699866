"""The root directory: where everything of this plugin is kept, and the checks that make its locks trustworthy."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import StateError
from pytest_kina.files import NewerSchema, Torn, private_directory, read_json, write_json
from pytest_kina.pool.locks import drop_file, try_lock, wait_for_lock

ENVIRONMENT = "KINA_HOME"
PROBES = "probe.*.lock"
OFFER = ".pool."
_PROBE_PATIENCE = 5.0  # seconds
_SCHEMA = 1
_ELSEWHERE = "set KINA_HOME to a directory on a local disk that belongs to you"

# File systems whose locks other machines do not see, or see too late. Names as in the mount table.
_NETWORK = frozenset(
    (
        *(
            "afs",
            "afpfs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
            "nfs3",
            "nfs4",
        ),
        *("orangefs", "panfs", "smb2", "smb3", "smbfs", "webdav"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A root directory that has passed the checks. ``pool_id`` is part of every cluster's name."""

    path: Path
    pool_id: str

    @property
    def slots(self) -> Path:
        """Locks and records of the slots."""
        return self.path / "slots"

    @property
    def processes(self) -> Path:
        """One lock per live process."""
        return self.path / "processes"

    @property
    def builds(self) -> Path:
        """Locks that elect the creator of a shared cluster."""
        return self.path / "builds"

    @property
    def starts(self) -> Path:
        """Locks that bound how many clusters start at once."""
        return self.path / "starts"

    @property
    def locked(self) -> tuple[Path, ...]:
        """The directories of lock files."""
        return self.slots, self.processes, self.builds, self.starts

    @property
    def clusters(self) -> Path:
        """One private directory per cluster."""
        return self.path / "clusters"

    @property
    def runs(self) -> Path:
        """Timings and progress of each run."""
        return self.path / "runs"

    @property
    def binaries(self) -> Path:
        """The store of control-plane binaries."""
        return self.path / "binaries"

    @property
    def templates(self) -> Path:
        """Snapshots that clusters may start from."""
        return self.path / "templates"


def open_root(path: Path | None = None) -> Root:
    """Make the root directory if needed, check it, and return it.

    ``path``, else ``KINA_HOME``, else the user's state directory. Raises :class:`StateError` when it belongs to
    somebody else, is open to others, is a link, could be exchanged by others, is read-only, is on a network file
    system, or has locks that do not exclude each other; the message names the place and what to do.
    """
    path = path or _default()
    _check_way(path.absolute())
    _make(path)
    _check_owner(path)
    _check_file_system(path, network_file_system(path))
    root = Root(path=path, pool_id="")
    for directory in (*root.locked, root.clusters, root.runs, root.binaries, root.templates):
        _make(directory)
    _check_locks(path)
    return Root(path=path, pool_id=_pool_id(path))


def _default() -> Path:
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).absolute()
    from platformdirs import user_state_path

    return user_state_path("pytest-kina")


def _make(path: Path) -> None:
    try:
        private_directory(path)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(path, "is not a directory, but one is needed", _ELSEWHERE) from error
    except OSError as error:
        raise _refused(path, f"cannot be made: {error.strerror}", _ELSEWHERE) from error


def _check_way(path: Path) -> None:
    """Refuse a way to the root on which somebody else can put another directory in its place.

    Others may write to a directory above it only when its sticky bit keeps them from renaming what is ours (inode(7)),
    and a link on the way must be root's or ours. Directories that a group may write to are taken: such groups are
    mostly private.
    """
    for above in reversed(path.parents):
        try:
            found = above.lstat()
        except FileNotFoundError:
            return  # from here on we make it
        except OSError as error:
            raise _refused(path, f"cannot be reached: {above}: {error.strerror}", _ELSEWHERE) from error
        if stat.S_ISLNK(found.st_mode):
            if found.st_uid not in (0, os.geteuid()):
                problem = f"is reached through {above}, a link of user {found.st_uid}, who can point it elsewhere"
                raise _refused(path, problem, _ELSEWHERE)
            found = above.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise _refused(path, f"is below {above}, which is not a directory", _ELSEWHERE)
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            problem = f"is in {above}, where everybody can put another directory in its place"
            raise _refused(path, problem, f"chmod +t {above}, or {_ELSEWHERE}")


def _check_owner(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise _refused(path, "is a symbolic link, which anybody could point elsewhere", f"name {path.resolve()} itself")
    if found.st_uid != os.geteuid():
        raise _refused(path, f"belongs to user {found.st_uid}, but we run as user {os.geteuid()}", _ELSEWHERE)
    if not found.st_mode & 0o077:
        return
    # Tightening a directory that holds other things could shut out whoever uses them.
    if not any(path.iterdir()):
        path.chmod(0o700)
    if any(path.iterdir()):  # also what somebody has put there just before it was closed
        problem = f"is open to other users (mode {found.st_mode & 0o777:04o}); it holds the keys of clusters"
        raise _refused(path, problem, f"chmod 700 {path}, or set KINA_HOME to a directory of its own")


def network_file_system(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the network file system that ``path`` is on, or None.

    Reads the mount table of Linux (proc(5), ``/proc/pid/mountinfo``); where there is none the answer is None, and the
    trial of the locks decides.
    """
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        # Of two mounts at one point the later one is on top.
        if Path(point) in (path, *path.parents) and len(point) >= best:
            best, kind = len(point), right.split()[0]
    return kind if kind in _NETWORK else None


def _check_file_system(path: Path, kind: str | None) -> None:
    if kind is not None:
        raise _refused(path, f"is on a network file system ({kind}), where locks are not to be trusted", _ELSEWHERE)


def _check_locks(path: Path) -> None:
    probe = path / f"probe.{os.getpid()}.{secrets.token_hex(4)}.lock"
    try:
        first = wait_for_lock(probe, _PROBE_PATIENCE)
    except StateError as error:
        cause = error.__cause__
        why = (
            "is on a read-only disk" if isinstance(cause, OSError) and cause.errno == errno.EROFS else "cannot be used"
        )
        raise _refused(path, f"{why}: {error.message}", _ELSEWHERE) from error
    assert first is not None, "only who sweeps takes such a lock, for a moment"
    second = try_lock(probe)
    drop_file(first, probe)
    if second is not None:
        second.release()
        raise _refused(path, "is on a file system whose locks do not exclude each other", _ELSEWHERE)


def _pool_id(path: Path) -> str:
    name = path / "pool.json"
    while True:
        try:
            document = read_json(name, _SCHEMA)
        except NewerSchema as error:
            raise _refused(name, f"was written by a newer version ({error})", "upgrade pytest-kina") from error
        except (Torn, FileNotFoundError):  # moved aside by us, or meanwhile by another process
            document = None
        if document is None:
            _offer_pool_id(name)
        elif isinstance(document.get("id"), str):
            return str(document["id"])
        else:
            raise _refused(name, "has no text `id`", "remove it when no pytest run uses this directory")


def _offer_pool_id(name: Path) -> None:
    # A link fails when the file exists, so of several processes that begin at once exactly one gives the pool its name.
    offer = name.with_name(f"{OFFER}{os.getpid()}.{secrets.token_hex(4)}")
    try:
        write_json(offer, _SCHEMA, {"id": secrets.token_hex(3)})
        os.link(offer, name)
    except (FileExistsError, FileNotFoundError):
        return  # another one was first, and perhaps has tidied up already
    except OSError as error:
        raise _refused(name, f"cannot be written: {error.strerror}", _ELSEWHERE) from error
    finally:
        offer.unlink(missing_ok=True)


def _refused(path: Path, problem: str, next_step: str) -> StateError:
    return StateError(f"{path} {problem}", next_step=next_step, path=str(path))
