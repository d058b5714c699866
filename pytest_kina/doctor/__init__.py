"""Whether this machine has everything that a lease needs, with a remedy for what it lacks.

``examine`` looks at everything (``pytest-kina doctor``); ``complaints`` only at what is quick and says only what is
bad, for the error of a failed set-up. What is tried leaves no file; a root that exists is opened, as by every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_kina.doctor import machine, place, software
from pytest_kina.doctor.findings import Finding, Level
from pytest_kina.settings import Settings

__all__ = ["Finding", "Level", "complaints", "examine"]


def examine(settings: Settings) -> list[Finding]:
    """Everything that was looked at, in the order in which one would repair it. Takes a second or two."""
    return [*software.versions(), *_quick(settings), *software.binaries(settings), *software.providers(settings)]


def complaints(settings: Settings) -> list[Finding]:
    """What is bad, for an error. Takes half a second."""
    return [finding for finding in (*software.versions(), *_quick(settings)) if finding.level is Level.BAD]


def _quick(settings: Settings) -> Iterator[Finding]:
    yield from place.findings(settings.root)
    yield from machine.findings(settings.capacity, proc=Path("/proc"))
