"""The universal check: what dead processes left, and what a sweep must have removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.pool_kit import Kit

_MARK = b"KINA_CLUSTER="
_TEMPORARY = ("*.tmp", ".pool.*", "probe.*")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep by a new run said, how long it took (seconds), and what it left."""

    said: tuple[str, ...]
    seconds: float
    left: tuple[str, ...]


def sweep(root: Path, patience: float = 10.0) -> Sweep:
    """Tidy as the next run does before its first lease, until nothing is left, for ``patience`` seconds at most.

    Usually the first time is enough; it is not when an idle helper is just at work on a slot.
    """
    kit = Kit(root)
    began, said = time.monotonic(), []
    while True:
        said += kit.pool.tidy()
        kit.pool.close()
        left, seconds = tuple(leftovers(root)), time.monotonic() - began
        if not left or seconds > patience:
            return Sweep(tuple(said), seconds, left)
        time.sleep(0.02)


def leftovers(root: Path) -> Iterator[str]:
    """One line for everything that a root without living users and without warm clusters must not have."""
    for pid, line in processes_below(root).items():
        yield f"process {pid}: {line[:160]}"
    for record in sorted(root.glob("slots/*.json")):
        yield f"record {record.name}: {record.read_text(encoding='utf-8', errors='replace').strip()[:300]}"
    for folder in ("clusters", "processes", "builds"):
        yield from (f"{folder}/{path.name}" for path in sorted((root / folder).glob("*")) if path.suffix != ".json")
    yield from temporary_files(root)


def temporary_files(root: Path) -> list[str]:
    """Half-written files of killed writers, below the root but not inside of clusters."""
    found = (path for pattern in _TEMPORARY for path in root.rglob(pattern))
    return sorted({str(path.relative_to(root)) for path in found if "clusters" not in path.relative_to(root).parts})


def processes_below(root: Path) -> dict[int, str]:
    """Supervisors, components and idle helpers of the clusters below ``root``: pid and command line."""
    return {pid: line for pid, line, environ in every_process() if _is_below(root, line, environ)}


def _is_below(root: Path, line: str, environ: bytes) -> bool:
    ours = _MARK in environ or "pytest_kina._tidy" in line
    return ours and (f"{root}/" in line or f" {root} " in line or os.fsencode(root) in environ)


def every_process() -> Iterator[tuple[int, str, bytes]]:
    """Pid, command line and environment of every process that has both (no zombie, no thread of the kernel)."""
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environ = (path / "environ").read_bytes()
        except OSError:
            continue
        if line:
            yield int(path.name), line, environ
