"""Show two runs side by side, from files of ``--kina-bench-json`` or of the history: medians, ratio and its interval.

Two runs differ by what each run has in common, too, so only +50 % is called slower (exit code 1). `pytest-kina ab`
sees less.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kina.cli.output import say, say_json
from pytest_kina.errors import StateError
from pytest_kina.gate import compare, comparison_lines, measured, read_document
from pytest_kina.settings import Settings

HELP = "show two runs side by side"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("a", type=Path, metavar="A", help="the run that is compared with")
    command.add_argument("b", type=Path, metavar="B", help="the run that may be slower")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison: 0, or 1 when B is slower. Raises StateError when nothing can be compared."""
    del settings
    base, head = (measured(read_document(path), place=str(path)) for path in (chosen.a, chosen.b))
    comparison = compare(base, head)
    if chosen.json:
        say_json(comparison.to_json())
    else:
        say(comparison_lines(comparison))
    if not comparison.pairs:
        raise StateError(f"{chosen.a} and {chosen.b} have no series in common", next_step="compare runs of one spec")
    return 1 if comparison.slower else 0
