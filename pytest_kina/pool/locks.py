"""Locks of the operating system, in directories that we own.

A held lock is the truth: the kernel drops it when its process dies, and a stopped process keeps it. Three habits keep
`filelock` honest (protocol in docs/pool.md): a new object per attempt, because objects are re-entrant; never a soft
lock; and a reference to the object as long as the lock is meant, because a collected object unlocks silently.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina import crashpoints
from pytest_kina.errors import StateError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_PROBE_PATIENCE = 5.0  # seconds that a probe of our own lock may take at most
_POLL = 0.005


def try_lock(path: Path) -> BaseFileLock | None:
    """The lock on ``path``, held; None when somebody else (also in this process) has it.

    Raises :class:`StateError` when the file cannot be locked at all.
    """
    return wait_for_lock(path, 0.0)


def wait_for_lock(path: Path, seconds: float) -> BaseFileLock | None:
    """Like :func:`try_lock`, asking again every 5 ms for ``seconds``."""
    from filelock import FileLock, Timeout  # 20 to 80 ms that a run without clusters need not pay

    # FileLock would re-create a removed directory, and with it invent locks that exclude nobody.
    if not path.parent.is_dir():
        raise StateError(
            f"{path.parent} has been removed while it was in use",
            next_step="end all pytest runs that use this directory; a new run makes it again",
            path=str(path.parent),
        )
    lock = FileLock(path, thread_local=False, fallback_to_soft=False, mode=0o600)
    try:
        lock.acquire(timeout=seconds, poll_interval=_POLL)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        raise _unusable(path, error) from error
    return lock


class ProcessLock:
    """Proof that this process lives: held from before its name enters a record until it exits.

    ``name`` is ``<run>.<pid>.<8 hex digits>`` and never used again, so who is dead stays dead.
    """

    def __init__(self, directory: Path, run: str) -> None:
        self.name = f"{run}.{os.getpid()}.{secrets.token_hex(4)}"
        self.path = directory / f"{self.name}.lock"
        self._lock: BaseFileLock | None = None

    @property
    def held(self) -> bool:
        """True between :meth:`take` and :meth:`drop`."""
        return self._lock is not None

    def take(self) -> None:
        """Hold it; the second call does nothing. Raises :class:`StateError` when it cannot be had."""
        if self._lock is not None:
            return
        with crashpoints.around("lock.process"):
            self._lock = wait_for_lock(self.path, _PROBE_PATIENCE)
        if self._lock is None:
            raise StateError(f"{self.path} is held by somebody else, although the name is ours", path=str(self.path))

    def drop(self) -> None:
        """Remove the file while holding it, then let go. Does nothing when it is not held."""
        if self._lock is None:
            return
        with crashpoints.around("unlock.process"):
            lock, self._lock = self._lock, None
            drop_file(lock, self.path)


def drop_file(lock: BaseFileLock, path: Path) -> None:
    """End the life of a lock file: its holder unlinks it as the last act, so late openers notice and try again."""
    try:
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def is_alive(directory: Path, name: str) -> bool:
    """Whether the process that took the process lock ``name`` still lives. A stopped process lives."""
    return is_held(directory / f"{name}.lock")


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock on ``path`` now; it may change at once. Makes no file where there is none.

    Asks for a shared lock (flock(2), which is what `filelock` takes): all who ask at one moment see the same. Raises
    :class:`StateError` when the file cannot be asked.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(descriptor)
    return False


def _unusable(path: Path, error: Exception) -> StateError:
    return StateError(
        f"{path} cannot be locked: {error}",
        next_step="set KINA_HOME to a directory on a local disk that belongs to you",
        path=str(path),
    )
