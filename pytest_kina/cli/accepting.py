"""Accept that series became slower (or faster) for good: from now on they are compared with new runs only.

Writes an epoch marker into the history. The earlier runs stay there, and count no more for these series.
"""

from __future__ import annotations

import argparse

from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.stored import add_machine, add_store, machine_of, store_of
from pytest_kina.errors import SettingsError
from pytest_kina.gate import accept
from pytest_kina.settings import Settings

HELP = "begin a new baseline for a series, with a reason"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("series", metavar="SERIES", help="a full name as in reports, a phase like create, or all")
    command.add_argument("--reason", required=True, help="why, for those who read the history later")
    add_store(command)
    add_machine(command)


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the marker's path; 0. Raises StateError when there is no such series, or the store cannot be written."""
    if not chosen.reason.strip():
        raise SettingsError("--reason is empty", next_step="say why the change is meant to stay")
    path = accept(store_of(chosen, settings), machine_of(chosen), chosen.series, chosen.reason)
    if chosen.json:
        say_json({"marker": str(path)})
    else:
        say([f"a new baseline begins: {path}"])
    return 0
