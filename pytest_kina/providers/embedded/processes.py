"""Which processes belong to a cluster, whether its supervisor lives, and how to end them for certain.

A process belongs to a cluster when its environment says ``KINA_CLUSTER=<name>``; names are never used again, so the
mark is enough. On Linux the kernel is asked through /proc and signals go through a pidfd, which cannot hit a recycled
pid. Elsewhere psutil stands in for both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_kina._supervisor import MARK, SCHEMA, boot_id, start_ticks
from pytest_kina.files import peek_json
from pytest_kina.providers.embedded.polling import readable
from pytest_kina.waiting import Deadline, wait_until

_MARK = f"{MARK}=".encode()


def mark_of(pid: int) -> str | None:
    """The cluster that a process of ours belongs to; None for all others."""
    return _mark_linux(pid) if sys.platform == "linux" else _mark_elsewhere(pid)


def _mark_linux(pid: int) -> str | None:
    try:
        process = Path(f"/proc/{pid}")
        if process.stat().st_uid != os.geteuid():
            return None
        variables = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((os.fsdecode(text[len(_MARK) :]) for text in variables if text.startswith(_MARK)), None)


def _mark_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def marked() -> dict[int, str]:
    """Pid and cluster of every living process of ours that carries a mark."""
    return {pid: name for pid in _all_pids() if (name := mark_of(pid)) is not None}


def _all_pids() -> Iterator[int]:
    if sys.platform == "linux":
        yield from (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    else:
        import psutil

        yield from psutil.pids()


def supervisor(identity: Path, cluster: str) -> int | None:
    """The pid of the living supervisor that wrote ``identity``, or None.

    It must be the process that wrote the file (same boot, same start) and carry the cluster's mark.
    """
    written = peek_json(identity, SCHEMA)
    if written is None or written.get("boot_id") != boot_id():
        return None
    pid = written.get("pid")
    if not isinstance(pid, int) or start_ticks(pid) != written.get("start_ticks"):
        return None
    return pid if mark_of(pid) == cluster else None


def terminate(pid: int, cluster: str, seconds: float) -> bool:
    """Ask a supervisor to end, and wait up to ``seconds``; whether it has ended."""
    with _handle(pid) as handle:
        if mark_of(pid) != cluster:
            return True
        _send(pid, handle, signal.SIGTERM)
        return _has_ended(pid, handle, cluster, seconds)


def kill_marked(cluster: str, seconds: float) -> list[int]:
    """SIGKILL every process that carries the cluster's mark, again until there is none; those that are left then."""
    deadline = Deadline(seconds)
    while left := [pid for pid, name in marked().items() if name == cluster]:
        for pid in left:
            with _handle(pid) as handle:
                if mark_of(pid) == cluster:
                    _send(pid, handle, signal.SIGKILL)
                    _has_ended(pid, handle, cluster, deadline.remaining)
        if deadline.expired:
            break
    return left


@contextmanager
def _handle(pid: int) -> Iterator[int | None]:
    """A pidfd, held while the process is identified and signalled; None where there is none."""
    handle = None
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _send(pid: int, handle: int | None, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if handle is None:
            os.kill(pid, number)
        elif sys.platform == "linux":
            signal.pidfd_send_signal(handle, number)


def _has_ended(pid: int, handle: int | None, cluster: str, seconds: float) -> bool:
    if handle is not None:
        return bool(readable(handle, seconds=seconds))
    ended = wait_until(lambda: mark_of(pid) != cluster or None, Deadline(seconds), interval=0.01)
    return bool(ended)
