"""Show every slot of the pool: its state, its cluster and how that fares, who holds it, and how long it stays idle."""

from __future__ import annotations

import argparse

from pytest_kina.cli.acting import opened, size_of
from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.view import table, total, views
from pytest_kina.settings import Settings

HELP = "show the slots of the pool, and who holds them"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("--pool-size", metavar="N", help="how many slots to show at least (default: as a test run)")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the slots; always 0. Raises StateError when the root cannot be used."""
    root = opened(settings)
    slots = views(root, size_of(settings), settings.provider_options) if root else []
    if chosen.json:
        pool = root.pool_id if root else None
        say_json({"root": str(settings.root), "pool": pool, "slots": [slot.to_json() for slot in slots]})
    elif root is None:
        say([f"{settings.root}: there is no pool yet; the first test run or `pytest-kina up` makes it"])
    else:
        say([f"pool {root.pool_id} in {root.path}", *table(slots), *filter(None, [total(slots)])])
    return 0
