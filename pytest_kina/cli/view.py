"""The slots of the pool as a command shows them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kina.cli.condition import Condition, conditions, mebibytes
from pytest_kina.cli.output import columns
from pytest_kina.pool import Root, SlotStatus, records
from pytest_kina.pool.actor import describe
from pytest_kina.pool.locks import is_alive
from pytest_kina.pool.status import age, status, stopped, user_stopped
from pytest_kina.spec import ClusterDescription

_HEADINGS = ("slot", "state", "lock", "cluster", "what", "health", "age", "memory", "disk", "idle", "ttl", "who")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """One slot, its cluster's description if it has one, and how long the cluster stays when idle (seconds).

    ``sharers`` are those of its users that still live. ``condition`` is None when nobody has looked.
    """

    status: SlotStatus
    description: ClusterDescription | None
    ttl: float
    sharers: tuple[str, ...] = ()
    condition: Condition | None = None

    @property
    def name(self) -> str:
        """For messages: the cluster, or the slot when it has none."""
        return self.status.cluster or f"slot {self.status.slot}"

    @property
    def busy(self) -> bool:
        """Whether somebody uses the slot or works on it now: holds its lock, or shares its cluster and lives."""
        return self.status.held or bool(self.sharers)

    @property
    def doing(self) -> str:
        """What happens now, for programs: the holder's activity, else ``kept`` or ``idle``; empty without a cluster."""
        if self.busy or not self.status.note.doing:
            return self.status.note.doing
        return "kept" if self.status.kept else "idle"

    @property
    def stopped(self) -> bool:
        """Whether who uses the cluster (of several: one of them) is stopped, so that it is not given back for now."""
        holder = self.status.held and bool(self.status.note.pid) and stopped(self.status.note.pid)
        return holder or any(map(user_stopped, self.sharers))

    def who(self) -> str:
        """Who does what, or did it last: activity, test, process, xdist worker, run, and since when."""
        note = self.status.note
        if not note.doing:
            return ""
        past = {"idle": "left idle", "using": "last used"}.get(note.doing, f"was {note.doing}")
        doing = note.doing if self.busy and note.doing != "idle" else past
        parts = [doing, note.test and f"for {note.test}", f"by process {note.pid}", f"({note.worker})"]
        parts.append("which is STOPPED" if self.stopped and not self.sharers else "")
        parts.append(self.status.run and f"of run {self.status.run}")
        parts.append(time.strftime("since %Y-%m-%d %H:%M:%S", time.localtime(note.since)))
        return " ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """The slot as plain JSON types; durations in seconds, ``since`` as seconds since 1970."""
        seen, note = self.status, self.status.note
        about = self.description
        return {
            "slot": seen.slot,
            "state": seen.state,
            "held": seen.held,
            "cluster": seen.cluster,
            "provider": seen.provider,
            "kubernetes": about.kubernetes if about else "",
            "profile": about.spec.profile if about else "",
            "nodes": about.spec.simulated_nodes if about else 0,
            "fingerprint": seen.fingerprint,
            "run": seen.run,
            "users": list(seen.users),
            "holder": {
                "doing": self.doing,
                "pid": note.pid,
                "xdist_worker": note.worker,
                "test": note.test,
                "since": note.since,
                "stopped": self.stopped,
            },
            "idle_seconds": seen.idle_seconds,
            "ttl_seconds": self.ttl,
            "last_error": seen.last_error,
            **(self.condition or Condition()).to_json(),
        }


def views(root: Root, size: int, options: Mapping[str, object] | None = None) -> list[SlotView]:
    """Every slot at this moment; a cluster without a readable description is shown without it.

    With ``options`` (for providers) also the condition of the clusters.
    """
    slots = status(root, size)
    found = {} if options is None else conditions(root, slots, options)
    return [_view(root, seen, found.get(seen.slot)) for seen in slots]


def holder(root: Root, slot: int) -> str:
    """Who uses a slot now, as far as its record says so."""
    for view in views(root, 0):
        if view.status.slot == slot and view.status.note.doing != "idle":
            return view.who()
    return "somebody else has just locked it"


def _view(root: Root, seen: SlotStatus, condition: Condition | None) -> SlotView:
    record = records.peek(root.slots, seen.slot)
    return SlotView(
        status=seen,
        sharers=tuple(user for user in seen.users if is_alive(root.processes, user)),
        description=describe(root.clusters / seen.cluster) if seen.cluster else None,
        ttl=record.ttl if record else 0.0,
        condition=condition,
    )


def table(slots: Sequence[SlotView]) -> list[str]:
    """The slots as lines of text; what is wrong with one gets a line of its own."""
    rows = [_HEADINGS, *(_row(slot) for slot in slots)]
    wrong = [f"slot {slot.status.slot}: {problem}" for slot in slots for problem in _problems(slot)]
    return columns(rows) + ([""] * bool(wrong)) + wrong


def total(slots: Sequence[SlotView]) -> str:
    """What all clusters take up together; empty without any."""
    found = [slot.condition for slot in slots if slot.condition]
    if not found:
        return ""
    clusters = f"{len(found)} cluster{'' if len(found) == 1 else 's'}"
    memory, disk = (sum(each) for each in zip(*((one.memory, one.disk) for one in found), strict=True))
    return f"{clusters}, {mebibytes(memory)} of memory, {mebibytes(disk)} on the disk"


def _problems(slot: SlotView) -> list[str]:
    state, condition = slot.status.state, slot.condition
    wrong = [slot.status.last_error] if slot.status.last_error else []
    if condition and condition.why:
        wrong.append(f"{'dead: ' if condition.healthy is False else ''}{condition.why}")
    if state == "UNREADABLE":
        wrong.append("its record is malformed; `pytest-kina reap` moves it aside and deletes its cluster")
    if state == "NEWER":
        wrong.append("its record was written by a newer version of pytest-kina, and is left alone")
    return wrong


def nodes(number: int) -> str:
    """``1 node``, ``3 nodes``."""
    return f"{number} node{'' if number == 1 else 's'}"


def _row(slot: SlotView) -> tuple[str, ...]:
    seen, about, now = slot.status, slot.description, slot.condition
    what = f"{about.kubernetes} {about.spec.profile}, {nodes(about.spec.simulated_nodes)}" if about else ""
    looks = (now.word(), age(now.age), mebibytes(now.memory), mebibytes(now.disk)) if now else ("", "", "", "")
    idle = age(seen.idle_seconds) if seen.cluster and not slot.busy else ""
    ttl = age(slot.ttl) if seen.cluster else ""
    shared = f"; shared by {len(slot.sharers)}{', STOPPED' * slot.stopped}" if slot.sharers else ""
    return (
        str(seen.slot),
        seen.state,
        "held" if seen.held else "free",
        seen.cluster,
        what,
        *looks,
        idle,
        ttl,
        slot.who() + shared,
    )
