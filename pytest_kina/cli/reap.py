"""Tidy the pool: finish what dead processes left, delete what has been idle too long, and say why each stays or goes.

A test run does the same before its first lease, and an idle cluster's own helper does it for that cluster.
"""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from pytest_kina.cli.acting import acting, opened, options_of, size_of
from pytest_kina.cli.output import age, say, say_json
from pytest_kina.cli.view import SlotView, views
from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.pool import Root, tidying
from pytest_kina.pool.actor import clusters_of
from pytest_kina.pool.locks import is_alive
from pytest_kina.pool.records import State
from pytest_kina.providers import Provider, find
from pytest_kina.settings import AUTO, Settings

HELP = "tidy the pool, and explain each decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one slot, and why."""

    slot: int
    cluster: str
    decision: Literal["keep", "delete", "nothing"]
    why: str

    def sentence(self) -> str:
        """One line for a person."""
        return f"slot {self.slot}: {' '.join(part for part in (self.decision, self.cluster) if part)}: {self.why}"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Tidy and explain; 1 when something that should go is still there. Raises StateError."""
    root = opened(settings)
    decided = decisions(root, size_of(settings)) if root else []
    done: list[str] = []
    if root and not chosen.dry_run:
        with acting(settings, root, _providers(settings)) as actor:
            done = tidying.tidy(actor, math.inf)
    left = _left(root, decided) if root and not chosen.dry_run else []
    if chosen.json:
        say_json({"decisions": [asdict(each) for each in decided], "done": done, "left": left})
    else:
        say([each.sentence() for each in decided] or ["there is no pool yet"])
        say(["", *done] if done else [])
        say([f"still there: {name}" for name in left])
    return 1 if left else 0


def decisions(root: Root, size: int) -> list[Decision]:
    """What tidying would do to each slot now, and why; nothing is locked for longer than a probe."""
    return [
        Decision(slot=view.status.slot, cluster=_cluster(root, view), decision=decision, why=why)
        for view in views(root, size)
        for decision, why in [_decide(root, view)]
    ]


def _decide(root: Root, view: SlotView) -> tuple[Literal["keep", "delete", "nothing"], str]:
    seen, state = view.status, view.status.state
    if seen.held:
        return "keep", f"in use: {view.who() or 'its lock is held'}"
    if state == "UNREADABLE":
        return "nothing", "its record is malformed or was written by a newer version"
    if state == "EMPTY":
        strays = clusters_of(root, seen.slot)
        return ("delete", "a directory without a record") if strays else ("nothing", "it is empty")
    if state == State.DOOMED:
        return "delete", seen.last_error or "it was left unfinished, or it was to be deleted"
    if seen.kept:
        return "keep", f"{seen.last_error}; `pytest-kina down {seen.cluster}` deletes it"
    if state == State.QUARANTINED:
        return "delete", f"one more try; it could not be deleted before: {seen.last_error}"
    return _decide_idle(root, view)


def _decide_idle(root: Root, view: SlotView) -> tuple[Literal["keep", "delete"], str]:
    seen = view.status
    if users := [user for user in seen.users if is_alive(root.processes, user)]:
        pids = ", ".join(user.split(".")[1] for user in users)
        return "keep", f"shared by processes {pids} of run {seen.run}"
    if not view.ttl:
        alive = any(is_alive(root.processes, name) for name in _processes(root, seen.run))
        return (
            ("keep", f"run {seen.run} goes on")
            if alive
            else ("delete", f"run {seen.run}, which keeps nothing, is over")
        )
    idle = f"idle for {age(seen.idle_seconds)} of {age(view.ttl)}"
    if seen.idle_seconds >= view.ttl:
        return "delete", idle
    return "keep", idle if seen.state == State.READY else f"{idle}; it is reset before its next use"


def _processes(root: Root, run: str) -> list[str]:
    return [path.name.removesuffix(".lock") for path in root.processes.glob(f"{run}.*.lock")]


def _cluster(root: Root, view: SlotView) -> str:
    if view.status.state == "EMPTY":
        return ", ".join(clusters_of(root, view.status.slot))
    return view.status.cluster


def _providers(settings: Settings) -> dict[str, Provider]:
    """Those that may know of clusters without a record; one that is not installed here knows of none."""
    name = AUTO if settings.provider == "auto" else settings.provider
    with suppress(ProviderUnavailableError):
        return {name: find(name, options_of(settings))}
    return {}


def _left(root: Root, decided: list[Decision]) -> list[str]:
    doomed = {name for each in decided if each.decision == "delete" for name in each.cluster.split(", ")}
    return sorted(name for name in doomed if (root.clusters / name).exists())
