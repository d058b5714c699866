"""A hint that somebody waits for a slot: the time of one empty file. Nothing depends on it but courtesy."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

FRESH = 0.4
"""Seconds. A waiter touches the file at each poll, at most 0.15 s apart."""


class WaitingHint:
    """``slots/waiting`` as this process sees it: its own touches do not count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = 0

    def touch(self) -> None:
        """Say that this process waits. A full or read-only disk is no reason to stop waiting."""
        self._mine = time.time_ns()
        with suppress(OSError):
            self._path.touch(mode=0o600)
            os.utime(self._path, ns=(self._mine, self._mine))

    def fresh(self) -> bool:
        """Whether another process waited a moment ago."""
        try:
            touched = self._path.stat().st_mtime_ns
        except OSError:
            return False
        return touched != self._mine and abs(time.time_ns() - touched) < FRESH * 1e9
