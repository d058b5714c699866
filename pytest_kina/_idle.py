"""When the supervisor runs the idle helper, and what it makes of its answers (``docs/architecture.md``).

A part of the stand-alone script ``_supervisor.py``: standard library and crash points only, single-threaded.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_kina import crashpoints

_PAUSE = 1.0
_GRACE = 900.0
_LONGEST_PAUSE = 60.0


class Idle:
    """Runs the idle helper when the slot is free and something is to be decided about it."""

    def __init__(
        self,
        slot_lock: Path,
        argv: Sequence[str],
        env: Mapping[str, str],
        errors: Path,
        adopt: Callable[[subprocess.Popen[bytes]], None],
    ) -> None:
        """``adopt`` is told of each helper that has been started, and sets its ``returncode`` once it has ended."""
        self._lock = slot_lock
        self._argv = list(argv)
        self._env = env
        self._errors = errors
        self._adopt = adopt
        self._process: subprocess.Popen[bytes] | None = None
        self._answer = b""
        self._seen: object = None
        self._undecided = True
        self._free_looks = 0
        self._due: float | None = None
        self._watch: list[Path] = []
        self._started = -_PAUSE
        self._failures = 0
        self._failing_since = 0.0

    def look(self) -> bool:
        """Start, follow or judge the helper, as the slot's state demands. True: the cluster must end."""
        if self._process is not None:
            return self._follow(self._process)
        if not self._argv:
            return False
        if not _is_free(self._lock):
            self._undecided, self._free_looks = True, 0
            return False
        self._free_looks += 1
        now = time.monotonic()
        if self._hopeless(now):
            return True
        # Tests follow each other within milliseconds: one free look may be the gap between two leases.
        if self._free_looks >= 2 and now - self._started >= _PAUSE and self._wanted(now):
            self._start(now)
        return False

    def _wanted(self, now: float) -> bool:
        if self._due is not None and now >= self._due:
            return True
        if self._failures:  # only time helps; whatever else happens, it would fail again
            return False
        if self._undecided or self._record() != self._seen:
            return True
        return bool(self._watch) and all(map(_is_free, self._watch))

    def _record(self) -> tuple[int, int] | None:
        try:
            found = self._lock.with_suffix(".json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _start(self, now: float) -> None:
        self._started, self._answer, self._undecided = now, b"", False
        self._seen, self._due, self._watch = self._record(), None, []
        try:
            with crashpoints.around("supervisor.helper"), self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._env,
                    start_new_session=True,
                )
        except OSError:
            self._failed(now)
            return
        self._adopt(self._process)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _follow(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        while chunk := process.stdout.read(65536):
            self._answer = (self._answer + chunk)[-65536:]
        if process.returncode is None:
            return False
        process.stdout.close()
        self._process = None
        return self._heed(time.monotonic())

    def _heed(self, now: float) -> bool:
        try:
            answer = json.loads(self._answer.splitlines()[-1])
            self._due = None if answer["wake_after"] is None else now + answer["wake_after"]
            self._watch = [Path(path) for path in answer["watch"]]
            self._failures = 0
            return bool(answer["stop"])
        except (ValueError, LookupError, TypeError):
            self._failed(now)
            return False

    def _failed(self, now: float) -> None:
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        self._due = now + min(_LONGEST_PAUSE, 2.0 ** min(self._failures, 10))

    def _hopeless(self, now: float) -> bool:
        """Whether the helper has failed for so long (its installation is gone, say) that nobody will ever tidy."""
        return self._failures >= 10 and now - self._failing_since >= _GRACE


def _is_free(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
