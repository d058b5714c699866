"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Good to know; nothing to do."""
    WARNING = "warning"
    """It works, but slower, less of it, or not for long."""
    BAD = "bad"
    """Clusters cannot be made, or not reliably."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``subject`` is what was looked at, ``what`` how it is, ``remedy`` what to do (empty: nothing)."""

    subject: str
    level: Level
    what: str
    remedy: str = ""

    def sentence(self) -> str:
        """One line for a person."""
        return f"{self.subject}: {self.what}" + (f" - {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON types."""
        return asdict(self) | {"level": self.level.value}


def graded(subject: str, amount: float, *, bad: float, scarce: float, what: str, remedy: str) -> Finding:
    """A finding about an amount of something: bad below ``bad``, a warning below ``scarce``."""
    level = Level.BAD if amount < bad else Level.WARNING if amount < scarce else Level.OK
    return Finding(subject=subject, level=level, what=what, remedy="" if level is Level.OK else remedy)
