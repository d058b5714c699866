"""Where the gate's commands find the history of runs, and runs in it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pytest_kina.report.machine_key import machine_key
from pytest_kina.settings import Settings

DEFAULT_STORE = Path(".kina-bench")


def add_store(command: argparse.ArgumentParser) -> None:
    """Declare ``--store``."""
    usual = f"the history of runs (default: gate_store, else {DEFAULT_STORE})"
    command.add_argument("--store", type=Path, metavar="DIR", help=usual)


def store_of(chosen: argparse.Namespace, settings: Settings) -> Path:
    """The store that was chosen, else the project's, else the usual one in the current directory."""
    return chosen.store or settings.gate_store or DEFAULT_STORE


def add_machine(command: argparse.ArgumentParser) -> None:
    """Declare ``--machine``."""
    command.add_argument("--machine", metavar="KEY", help="a directory of the store (default: the key of this machine)")


def machine_of(chosen: argparse.Namespace) -> str:
    """The machine key that was chosen, or this machine's."""
    return chosen.machine or machine_key(os.environ)
