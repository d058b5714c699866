"""What commands print: text for people, or one JSON document for programs; errors go to standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_kina.errors import StateError
from pytest_kina.files import write_atomic


def say(lines: Iterable[str]) -> None:
    """Print lines of text."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def say_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, sort_keys=True) + "\n")


class Teller:
    """Shows on standard error what something slow begins to do; a :class:`pytest_kina.progress.Progress`."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        """Print a line when something else is done than before."""
        if what != self._last:
            self._last = what
            sys.stderr.write(f"{what} ({step} of {steps})\n" if steps else f"{what}\n")


def fail(problem: object, chosen: argparse.Namespace, code: int) -> int:
    """Print why the command failed and return ``code``; with ``--json`` also as a document with the key ``error``."""
    if getattr(chosen, "json", False):
        say_json({"error": str(problem)})
    sys.stderr.write(f"pytest-kina {chosen.command}: {problem}\n")
    return code


def write_page(path: Path, content: str) -> None:
    """Write the HTML page that ``--html`` asked for. Raises :class:`StateError`."""
    try:
        write_atomic(path, content.encode(), mode=0o666)
    except OSError as error:
        raise StateError(
            f"--html: {path} cannot be written: {error.strerror or error}",
            next_step="name a file in a directory that you may write to",
            path=path,
        ) from error


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, the first one with headings, as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]
