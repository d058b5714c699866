"""The root directory and the disk that it is on: owner, permissions, locks between processes, room."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pytest_kina.doctor.findings import Finding, Level, graded
from pytest_kina.errors import CommandError, StateError
from pytest_kina.pool import open_root
from pytest_kina.pool.locks import drop_file, try_lock
from pytest_kina.pool.root import network_file_system
from pytest_kina.process import environment, run_command

_MIB = 1024 * 1024
_CLUSTER_DISK = 150 * _MIB  # a cluster of the profile workloads takes 125 MiB
_CLUSTER_FILES = 300
_ELSEWHERE = "set KINA_HOME to a directory of yours on a local disk"
_TIMEOUT = 20.0
_SKEW = 60.0

# Says whether another process finds the lock taken; filelock is what the pool uses, too.
_TRY = (
    "import sys; from pathlib import Path; from pytest_kina.pool.locks import is_held;"
    "print('taken' if is_held(Path(sys.argv[1])) else 'free')"
)


def findings(root: Path) -> Iterator[Finding]:
    """What there is to say about ``root``, which need not exist, and about its disk."""
    try:
        if root.exists() or root.is_symlink():
            open_root(root)
    except StateError as error:
        yield Finding(subject="root", level=Level.BAD, what=error.message, remedy=error.next_step or "")
        return
    ground = _existing(root)
    if not os.access(ground, os.W_OK | os.X_OK):
        yield Finding(
            subject="root", level=Level.BAD, what=f"{root} cannot be made: {ground} is not writable", remedy=_ELSEWHERE
        )
        return
    what = f"{root} is ours, and closed to others" if ground == root else f"{root} does not exist; {ground} is writable"
    yield Finding(subject="root", level=Level.OK, what=what)
    yield _locks(ground)
    yield from _disk(ground)
    yield from _clock(root)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.is_dir())


def _locks(ground: Path) -> Finding:
    """Really lock a file here, and let another process try."""
    subject = "locks"
    if kind := network_file_system(ground):
        return Finding(subject=subject, level=Level.BAD, what=f"{ground} is on {kind}", remedy=_ELSEWHERE)
    probe = ground / f".kina-doctor.{os.getpid()}.{secrets.token_hex(4)}.lock"
    try:
        lock = try_lock(probe)
        if lock is None:  # its name is random, so nobody else holds it: no file can be made here (in /proc, say)
            return Finding(subject=subject, level=Level.BAD, what=f"{ground} takes no lock file", remedy=_ELSEWHERE)
        try:
            seen = _seen_by_another(probe)
        finally:
            drop_file(lock, probe)
    except (StateError, CommandError, OSError) as error:
        return Finding(subject=subject, level=Level.BAD, what=f"they cannot be tried: {error}", remedy=_ELSEWHERE)
    if seen != "taken":
        what = f"{ground}: two processes hold one lock at the same time"
        return Finding(subject=subject, level=Level.BAD, what=what, remedy=_ELSEWHERE)
    return Finding(subject=subject, level=Level.OK, what=f"another process is kept out by a lock in {ground}")


def _seen_by_another(lock: Path) -> str:
    env = environment(also=("PYTHONPATH",))
    return run_command([sys.executable, "-P", "-c", _TRY, lock], timeout=_TIMEOUT, env=env).stdout.strip()


def _disk(ground: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(ground).free
    yield graded(
        "disk",
        free,
        bad=_CLUSTER_DISK,
        scarce=1024 * _MIB,
        what=f"{free // _MIB} MiB are free where {ground} is; a cluster takes about {_CLUSTER_DISK // _MIB} MiB",
        remedy="make room there, or set KINA_HOME to another disk",
    )
    found = os.statvfs(ground)
    if found.f_files:  # 0: the file system has no such limit
        yield graded(
            "files on the disk",
            found.f_favail,
            bad=_CLUSTER_FILES,
            scarce=10 * _CLUSTER_FILES,
            what=f"{found.f_favail} more can be made; a cluster makes up to {_CLUSTER_FILES}",
            remedy="remove files there, or set KINA_HOME to another disk",
        )
    if found.f_flag & getattr(os, "ST_NOEXEC", 0):
        what = f"{ground} is mounted noexec, so binaries that are kept there do not run"
        remedy = "set KINA_HOME to another disk, or name directories with binaries elsewhere in KINA_ASSETS"
        yield Finding(subject="noexec", level=Level.BAD, what=what, remedy=remedy)


def _clock(root: Path) -> Iterator[Finding]:
    """Idle times are by the wall clock: records from the future mean that it was set back."""
    ahead = 0.0
    for path in root.glob("slots/*.json"):
        with suppress(OSError):
            ahead = max(ahead, path.stat().st_mtime - time.time())
    if ahead > _SKEW:
        what = f"records were written {ahead:.0f} s in the future: it was set back"
        yield Finding(subject="clock", level=Level.WARNING, what=what, remedy="`pytest-kina reap --force` begins anew")
