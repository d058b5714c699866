"""What processes and directories take up, read from ``/proc``; where there is none, psutil says what it can.

Sources: proc(5) for ``stat`` and ``smaps_rollup``. RSS counts shared pages once per process, so the sum over a
cluster's processes is too high; PSS divides each page by the number of its users, and sums are true.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_BLOCK = 512  # st_blocks counts these, whatever the file system's own size is


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Memory in bytes (``pss`` is None where the system does not tell) and processor time in seconds."""

    processes: int = 0
    rss: int = 0
    pss: int | None = None
    cpu_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return {"processes": self.processes, "rss": self.rss, "pss": self.pss, "cpu_seconds": self.cpu_seconds}


def usage(pids: Iterable[int]) -> Usage:
    """The sum over those processes that live now; ``pss`` only when all of them told it."""
    found = [one for pid in pids if (one := _usage(pid)) is not None]
    shares = [one.pss for one in found if one.pss is not None]
    return Usage(
        processes=len(found),
        rss=sum(one.rss for one in found),
        pss=sum(shares) if len(shares) == len(found) else None,
        cpu_seconds=sum(one.cpu_seconds for one in found),
    )


def family(pid: int) -> list[int]:
    """``pid`` and all its descendants, as far as they are alive."""
    found, rest = [], [pid]
    while rest:
        found.append(one := rest.pop())
        rest += _children(one)
    return found


def resident(pid: int | None = None) -> int:
    """RSS of one process (default: this one) in bytes; 0 where the system does not say. Takes microseconds."""
    with suppress(OSError, ValueError, IndexError):
        pages = int((_PROC / str(pid or "self") / "statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def disk_bytes(directory: Path) -> int:
    """What the files below ``directory`` take up on the disk; links are not followed."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # it went away meanwhile
                total += os.lstat(os.path.join(folder, name)).st_blocks * _BLOCK  # noqa: PTH118 - ten times faster
    return total


def _usage(pid: int) -> Usage | None:
    home = _PROC / str(pid)
    try:
        fields = (home / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _foreign_usage(pid)
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Usage(processes=1, rss=resident(pid), pss=_pss(home), cpu_seconds=cpu)


def _pss(home: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in (home / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        tasks = list((_PROC / str(pid) / "task").iterdir())
        return [int(child) for task in tasks for child in _read(task / "children").split()]
    return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _foreign_usage(pid: int) -> Usage | None:
    """The same where there is no ``/proc``; None for a process that is gone, or without psutil."""
    if _PROC.joinpath("self").exists():
        return None
    with suppress(ImportError):
        import psutil

        with suppress(psutil.Error):
            process = psutil.Process(pid)
            times = process.cpu_times()
            return Usage(processes=1, rss=process.memory_info().rss, cpu_seconds=times.user + times.system)
    return None
