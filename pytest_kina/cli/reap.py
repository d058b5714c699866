"""Tidy the pool: finish what dead processes left, delete what has been idle too long, and say why each stays or goes.

A test run does the same before its first lease, and an idle cluster's own helper does it for that cluster.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from pytest_kina.cli.acting import acting, opened, size_of
from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.view import SlotView, views
from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.pool import Root, records, tidying
from pytest_kina.pool.actor import clusters_of, newer_description, slot_of
from pytest_kina.pool.judging import judge
from pytest_kina.providers import Provider, find, names
from pytest_kina.settings import Settings

_Word = Literal["keep", "delete", "nothing"]

HELP = "tidy the pool, and explain each decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one slot, and why."""

    slot: int
    cluster: str
    decision: _Word
    why: str

    def sentence(self) -> str:
        """One line for a person."""
        return f"slot {self.slot}: {' '.join(part for part in (self.decision, self.cluster) if part)}: {self.why}"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    command.add_argument("--force", action="store_true", help="delete everything that nobody uses, whatever its time")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Tidy and explain; 1 when something that should go is still there. Raises StateError."""
    root = opened(settings)
    providers = _providers(settings) if root else {}
    decided = decisions(root, settings, providers, force=chosen.force) if root else []
    done: list[str] = []
    if root and not chosen.dry_run:
        with acting(settings, root, providers) as actor:
            done = tidying.tidy(actor, math.inf, force=chosen.force)
    left = _left(root, decided, providers) if root and not chosen.dry_run else []
    if chosen.json:
        say_json({"decisions": [asdict(each) for each in decided], "done": done, "left": left})
    else:
        say([each.sentence() for each in decided] or ["there is no pool yet"])
        say(["", *done] if done else [])
        say([f"still there: {name}" for name in left])
    return 1 if left else 0


def decisions(
    root: Root, settings: Settings, providers: Mapping[str, Provider], *, force: bool = False
) -> list[Decision]:
    """What tidying would do to each slot now, and why; nothing is locked for longer than a probe."""
    seen = views(root, size_of(settings), settings.provider_options)
    slots = {view.status.slot: view for view in seen}
    strays = _strays(root, slots, tidying.backends(root, providers)[0])
    decided = [_decide(root, view, force=force) for view in seen]
    # Of an empty slot there is nothing to say besides what lies about in its name.
    told = [each for each in decided if each.cluster or each.decision != "nothing" or each.slot not in strays]
    for number, names_found in strays.items():
        view = slots.get(number)
        busy = view is not None and view.status.held
        why = "no record names it; the slot is in use, so it goes later" if busy else "no record names it"
        told += [_decision(number, name, "nothing" if busy else "delete", why) for name in names_found]
    return sorted(told, key=lambda each: each.slot)


def _decision(slot: int, cluster: str, decision: _Word, why: str) -> Decision:
    return Decision(slot=slot, cluster=cluster, decision=decision, why=why)


def _decide(root: Root, view: SlotView, *, force: bool) -> Decision:
    seen = view.status
    say = partial(_decision, seen.slot, seen.cluster)
    if seen.held:
        return say("keep", f"in use: {view.who() or 'its lock is held'}")
    if seen.state == "EMPTY":
        return say("nothing", "it is empty")
    if seen.state == "NEWER":
        return say("nothing", "its record was written by a newer version of pytest-kina")
    if seen.state == "UNREADABLE":
        return say("delete", "its record is malformed; it is moved aside, and what is named for the slot goes")
    record, condition = records.peek(root.slots, seen.slot), view.condition
    if record is None or condition is None:
        return say("nothing", "somebody has just changed it")
    if not condition.ours:
        return say("nothing", condition.why)
    dead = condition.why if condition.healthy is False else None
    judged = judge(root, seen.slot, record, run="", check=lambda _: dead, force=force)
    return say(judged.decision, judged.why)


def _strays(root: Root, slots: Mapping[int, SlotView], backends: Iterable[str]) -> dict[int, list[str]]:
    """Clusters of this pool that no record names, by slot; those of a newer version are not ours to judge."""
    found: dict[int, list[str]] = {}
    known = {view.status.cluster for view in slots.values()}
    directories = {name for number in slots for name in clusters_of(root, number)}
    for name in sorted({*backends, *directories} - known):
        number = slot_of(root, name)
        if number is None or newer_description(root.clusters / name):
            continue
        if number not in slots or slots[number].status.state != "NEWER":
            found.setdefault(number, []).append(name)
    return found


def _providers(settings: Settings) -> dict[str, Provider]:
    """All that work here: each may know of clusters without a record."""
    found = {}
    for name in {*names(), *({settings.provider} - {"auto"})}:
        with suppress(ProviderUnavailableError):
            provider = find(name, settings.provider_options)
            if provider.unavailable() is None:
                found[name] = provider
    return found


def _left(root: Root, decided: Sequence[Decision], providers: Mapping[str, Provider]) -> list[str]:
    doomed = {each.cluster for each in decided if each.decision == "delete" and each.cluster}
    there = tidying.backends(root, providers)[0]
    return sorted(name for name in doomed if name in there or (root.clusters / name).exists())
