"""Telling a person what a slow preparation is doing: who works, at which step, and for how long."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from pytest_kina.files import peek_json, write_json

_SCHEMA = 1


class Progress(Protocol):
    """Receives the steps of something slow (a download, a build, a template)."""

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        """``what`` is happening now; it is step ``step`` of ``steps`` (0: not known)."""


def silent(what: str, step: int = 0, steps: int = 0) -> None:
    """A progress that nobody watches."""


class ProgressFile:
    """Keeps the latest step of this process in ``runs/<run>/<who>.progress.json``, for the xdist controller to show."""

    def __init__(self, directory: Path, who: str) -> None:
        self._path = directory / f"{who}.progress.json"
        self._who = who

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        """Record the step; see :class:`Progress`."""
        step_now = {"who": self._who, "what": what, "step": step, "steps": steps, "at": time.time()}
        write_json(self._path, _SCHEMA, step_now)

    def done(self) -> None:
        """Nothing is being prepared any more."""
        self._path.unlink(missing_ok=True)


def current(directory: Path) -> list[dict[str, object]]:
    """The latest step of every process that is preparing something in this run, oldest first."""
    found = [peek_json(path, _SCHEMA) for path in sorted(directory.glob("*.progress.json"))]
    return sorted((step for step in found if step), key=lambda step: float(step["at"]))
