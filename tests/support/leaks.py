"""The leak gate: a test session that leaves a process, a held lock or a temporary file of its own behind has failed.

The session marks its environment, which everything inherits that tests start, except for supervisors and what they start:
those have a directory below the session's temporary directory in their arguments. Ports need no look of their own, since
only a process can keep one.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.universal import every_process

MARK = "LEAK_GATE"
_PATIENCE = 10.0
_SHOWN = 20


class LeakGate:
    """Registered in the process that has the terminal: it sees the end of all workers.

    ``patience``: seconds in which what is just ending may end.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._name = secrets.token_hex(8)
        self._base = self._temporary = Path()
        self._kept = ExitStack()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Mark the environment, before xdist starts its workers."""
        factory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        self._base = factory.getbasetemp()
        # pytest 9 gives up its directory's `.lock` before we look, and then other sessions may remove the directory.
        self._kept = getattr(factory, "_exit_stack", self._kept).pop_all()
        atexit.register(self._kept.close)
        # pytest's own directories stay for three sessions; ours must be empty at the end of this one.
        self._temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=self._base))
        os.environ |= {MARK: self._name, "TMPDIR": str(self._temporary)}
        tempfile.tempdir = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Look when the workers have ended, and fail the session when something is left."""
        yield
        deadline = time.monotonic() + self._patience
        while (left := list(self._left())) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            text = "\n  ".join(["", "leak gate: this session has left behind", *left])
            print(text, file=sys.__stderr__, flush=True)
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._kept.close()

    def _left(self) -> Iterator[str]:
        yield from (f"process {pid}: {line[:200]}" for pid, line in self._processes())
        yield from (f"held lock: {path}" for path in held_locks(self._base))
        if not self._temporary.is_dir():
            yield f"no temporary directory to look into: somebody has removed {self._temporary}"
            return
        # Runs of pytest that tests start keep their last three directories there, as pytest does everywhere.
        files = (path for path in sorted(self._temporary.iterdir()) if not path.name.startswith("pytest-of-"))
        yield from (f"temporary file: {path}{_content(path)}" for path in files)

    def _processes(self) -> Iterator[tuple[int, str]]:
        mark, place = f"{MARK}={self._name}".encode(), os.fsencode(self._base) + b"/"
        mine = {os.getpid(), *_ancestors()}
        for pid, line, environ in every_process():
            # The command line of this session may name the directory, too.
            if pid not in mine and (mark in environ.split(b"\0") or place in environ or f"{self._base}/" in line):
                yield pid, line


def _content(path: Path) -> str:
    """What is in a directory: who has left it can be read from that."""
    within = sorted(str(each.relative_to(path)) for each in path.rglob("*"))
    return f", with {', '.join(within[:_SHOWN])}" if within else ""


def _ancestors() -> Iterator[int]:
    pid = os.getppid()
    while pid > 1:
        yield pid
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])


def held_locks(base: Path) -> list[str]:
    """Lock files below ``base`` that somebody holds (proc(5), ``/proc/locks``)."""
    rows = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    held = {int(row.split()[5].rpartition(":")[2]) for row in rows if "->" not in row}
    found = []
    for folder, _, names in os.walk(base):
        for path in (Path(folder, name) for name in names if name.endswith(".lock")):
            with suppress(FileNotFoundError):  # what is just ending removes its files
                if path.stat().st_ino in held:
                    found.append(str(path))
    return sorted(found)
