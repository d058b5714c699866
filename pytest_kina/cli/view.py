"""The slots of the pool as a command shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kina.cli.output import age, columns
from pytest_kina.pool import Root, SlotStatus, records
from pytest_kina.pool.actor import describe
from pytest_kina.pool.locks import is_alive
from pytest_kina.pool.status import status, stopped
from pytest_kina.spec import ClusterDescription

_HEADINGS = ("slot", "state", "lock", "cluster", "what", "idle", "ttl", "who")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """One slot, its cluster's description if it has one, and how long the cluster stays when idle (seconds).

    ``sharers`` are those of its users that still live.
    """

    status: SlotStatus
    description: ClusterDescription | None
    ttl: float
    sharers: tuple[str, ...] = ()

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

    def who(self) -> str:
        """Who does what, or did it last: activity, test, process, xdist worker, run, and since when."""
        note = self.status.note
        if not note.doing:
            return ""
        past = {"idle": "left idle", "using": "last used"}.get(note.doing, f"was {note.doing}")
        doing = note.doing if self.busy and note.doing != "idle" else past
        parts = [doing, note.test and f"for {note.test}", f"by process {note.pid}", f"({note.worker})"]
        parts.append("which is STOPPED" if self.status.held and stopped(note.pid) else "")
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
                "stopped": bool(note.pid) and seen.held and stopped(note.pid),
            },
            "idle_seconds": seen.idle_seconds,
            "ttl_seconds": self.ttl,
            "last_error": seen.last_error,
        }


def views(root: Root, size: int) -> list[SlotView]:
    """Every slot at this moment; a cluster without a readable description is shown without it."""
    return [_view(root, seen) for seen in status(root, size)]


def holder(root: Root, slot: int) -> str:
    """Who uses a slot now, as far as its record says so."""
    for view in views(root, 0):
        if view.status.slot == slot and view.status.note.doing != "idle":
            return view.who()
    return "somebody else has just locked it"


def _view(root: Root, seen: SlotStatus) -> SlotView:
    record = records.peek(root.slots, seen.slot)
    return SlotView(
        status=seen,
        sharers=tuple(user for user in seen.users if is_alive(root.processes, user)),
        description=describe(root.clusters / seen.cluster) if seen.cluster else None,
        ttl=record.ttl if record else 0.0,
    )


def table(slots: Sequence[SlotView]) -> list[str]:
    """The slots as lines of text; a last error gets a line of its own."""
    rows = [_HEADINGS, *(_row(slot) for slot in slots)]
    errors = [f"slot {slot.status.slot}: {slot.status.last_error}" for slot in slots if slot.status.last_error]
    return columns(rows) + ([""] * bool(errors)) + errors


def nodes(number: int) -> str:
    """``1 node``, ``3 nodes``."""
    return f"{number} node{'' if number == 1 else 's'}"


def _row(slot: SlotView) -> tuple[str, ...]:
    seen, about = slot.status, slot.description
    what = f"{about.kubernetes} {about.spec.profile}, {nodes(about.spec.simulated_nodes)}" if about else ""
    idle = age(seen.idle_seconds) if seen.cluster and not slot.busy else ""
    ttl = age(slot.ttl) if seen.cluster else ""
    who = slot.who() + (f"; shared by {len(slot.sharers)}" if slot.sharers else "")
    return str(seen.slot), seen.state, "held" if seen.held else "free", seen.cluster, what, idle, ttl, who
