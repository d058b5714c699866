"""Delete idle clusters: all of them, or those that are named. A cluster in use is left alone, and said so."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from pytest_kina.cli.acting import acting, opened, size_of
from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.view import SlotView, holder, views
from pytest_kina.errors import StateError
from pytest_kina.pool.actor import Actor, SlotUnusable
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.slot import ATTEMPTS, HeldSlot
from pytest_kina.settings import Settings

HELP = "delete idle clusters"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("cluster", nargs="*", help="cluster names, as `pytest-kina status` shows them (default: all)")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Delete them; 1 when one was in use or could not be deleted. Raises StateError for a name nobody knows."""
    root = opened(settings)
    wanted = _wanted(views(root, size_of(settings)) if root else [], chosen.cluster)
    deleted: list[str] = []
    left: dict[str, str] = {}
    if root and wanted:
        with acting(settings, root) as actor:
            for slot in wanted:
                if why := delete(actor, slot):
                    left[slot.name] = why
                else:
                    deleted.append(slot.name)
    if chosen.json:
        say_json({"deleted": deleted, "left": left})
    else:
        say([f"deleted {name}" for name in deleted] + [f"left alone {name}: {why}" for name, why in left.items()])
        say([] if wanted else ["there is no cluster"])
    return 1 if left else 0


def delete(actor: Actor, slot: SlotView) -> str | None:
    """Delete the cluster of one slot; None when it is gone, else why it is not."""
    held = HeldSlot.take(actor, slot.status.slot)
    if held is None:
        return f"in use: {holder(actor.root, slot.status.slot)}"
    with closing(held):
        try:
            record = held.look()
            if record is None or record.cluster != slot.status.cluster:
                return None
            if held.live_users(record):
                return f"in use: {holder(actor.root, slot.status.slot)}"
            return _deleted(held, record)
        except SlotUnusable as error:
            return str(error)


def _deleted(held: HeldSlot, record: Record) -> str | None:
    # A person asks, so a cluster that was given up gets all its attempts again.
    current: Record | None = held.write(replace(record, state=State.DOOMED, users=(), attempts=0))
    for _ in range(ATTEMPTS):
        assert current is not None, "a cluster that was not deleted has a record"
        if held.delete(current):
            return None
        current = held.look()
    return held.problem


def _wanted(slots: Sequence[SlotView], names: Sequence[str]) -> list[SlotView]:
    known = {slot.status.cluster: slot for slot in slots if slot.status.cluster}
    if strange := [name for name in names if name not in known]:
        raise StateError(
            f"there is no cluster called {', '.join(strange)}; there are: {', '.join(sorted(known)) or 'none'}",
            next_step="take the names from `pytest-kina status`",
        )
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())
