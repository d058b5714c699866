"""Cleaning up after the dead, after idleness, and after a run that keeps nothing.

All of it goes slot by slot with try-locks, so it never waits for anybody and never touches what is in use. Also here:
the decision of the idle helper, which a cluster's supervisor starts (docs/architecture.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from pytest_kina.errors import KinaError, ProviderUnavailableError
from pytest_kina.pool import records
from pytest_kina.pool.actor import Actor, SlotUnusable, clusters_of
from pytest_kina.pool.locks import drop_file, is_alive, try_lock
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.root import Root
from pytest_kina.pool.slot import ATTEMPTS, HeldSlot
from pytest_kina.pool.waiting_hint import WaitingHint
from pytest_kina.waiting import Deadline

_log = logging.getLogger(__name__)

_RETIRE = 10.0  # seconds that the end of a run waits for its last processes
_RETIRE_POLL = 0.1
_COUNT_AGE = 86_400.0  # seconds after which the count of failed builds is nobody's business any more
_SETTLE = 1.0  # seconds after a lease before a reset in the background: the next test may ask at once
_ABANDONED = 10.0  # seconds after which a run that goes on is taken to have no more use for its shared cluster
_BUSY = 1.0
_LATER = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the idle helper tells the supervisor: when to run it again (seconds, or when all lock files are free)."""

    wake_after: float | None = None
    watch: tuple[str, ...] = ()
    stop: bool = False


def tidy(actor: Actor, budget: float) -> list[str]:
    """See :meth:`pytest_kina.pool.Pool.tidy`."""
    deadline = Deadline(budget)
    said: list[str] = []
    # Listed before any slot is locked: what is made meanwhile has a record by the time we look at its slot.
    backends = _backends(actor)
    for number in _all_slots(actor):
        if deadline.expired:
            said.append(f"tidying ended after {budget:g} s; the rest is left to the next run")
            break
        said += _with_slot(actor, number, partial(_tidy_slot, actor, backends))
    _sweep_locks(actor.root)
    return said


def retire(actor: Actor) -> list[str]:
    """See :meth:`pytest_kina.pool.Pool.retire`."""
    deadline = Deadline(_RETIRE)
    said: list[str] = []
    while left := _slots_of(actor):
        for number in left:
            said += _with_slot(actor, number, partial(_retire_slot, actor))
        if not _slots_of(actor):
            break
        if deadline.expired:
            still = ", ".join(map(str, left))
            return [*said, f"this run still uses slots {still} after {_RETIRE:g} s; the next run deletes what is there"]
        time.sleep(_RETIRE_POLL)
    return said


def advise(actor: Actor, number: int, cluster: str) -> Advice:
    """Do what is due for an idle cluster, and say when to look again.

    Reset it in the background while nobody waits; delete it when its time is over.
    """
    held = HeldSlot.take(actor, number)
    if held is None:
        return Advice(wake_after=_BUSY)
    with closing(held):
        try:
            return _advise(actor, held, cluster)
        except (SlotUnusable, KinaError) as error:
            _log.warning("slot %s: %s", number, error)
            return Advice(wake_after=_LATER)


def _all_slots(actor: Actor) -> list[int]:
    slots = actor.root.slots
    locked = (int(path.stem) for path in slots.glob("*.lock") if path.stem.isdecimal())
    return sorted({*range(actor.size), *records.numbers(slots), *locked})


def _slots_of(actor: Actor) -> list[int]:
    slots = actor.root.slots
    return [number for number in records.numbers(slots) if _left_by(records.peek(slots, number), actor.run)]


def _backends(actor: Actor) -> frozenset[str]:
    for number in records.numbers(actor.root.slots):
        record = records.peek(actor.root.slots, number)
        if record is not None and record.provider:
            with suppress(ProviderUnavailableError):
                actor.provider(record.provider)
    found = (provider.leftovers(actor.root.clusters) for provider in actor.providers.values())
    return frozenset(chain.from_iterable(found))


def _with_slot(actor: Actor, number: int, act: Callable[[HeldSlot], None]) -> list[str]:
    try:
        held = HeldSlot.take(actor, number)
    except OSError as error:
        return [f"slot {number}: its lock cannot be taken: {error}"]
    if held is None:
        return []
    with closing(held):
        try:
            act(held)
        except (SlotUnusable, KinaError) as error:
            held.said.append(str(error))
    return held.said


def _tidy_slot(actor: Actor, backends: frozenset[str], held: HeldSlot) -> None:
    # Only the holder of the lock writes the record: what others were writing they have not lived to move into place.
    for left in actor.root.slots.glob(f".{held.number}.json.*.tmp"):
        left.unlink(missing_ok=True)
    judged: set[str] = set()
    while (record := held.look()) is not None:
        judged.add(record.cluster)
        if record.state is State.DOOMED:
            held.delete(record)
        elif record.state is State.QUARANTINED and record.run != actor.run and not record.kept:
            # The run is noted, so that each later run tries once and no more.
            held.write(replace(record, state=State.DOOMED, attempts=ATTEMPTS - 1, run=actor.run))
        elif record.state is not State.QUARANTINED and _is_over(actor.root, held, record):
            held.doom(record, "it had been idle for its time")
        else:
            break
    mark = f"kina-{actor.root.pool_id}-{held.number}-"
    ours = {name for name in backends if name.startswith(mark)} | set(clusters_of(actor.root, held.number))
    for name in sorted(ours - judged):
        held.delete_stranger(name)


def _retire_slot(actor: Actor, held: HeldSlot) -> None:
    while (record := held.look()) is not None and _left_by(record, actor.run):
        if record.state is State.DOOMED:
            held.delete(record)
        elif record.state is State.SHARED and held.live_users(record):
            break
        else:
            held.doom(record, "")


def _left_by(record: Record | None, run: str) -> bool:
    return record is not None and record.run == run and record.state is not State.QUARANTINED


def _is_over(root: Root, held: HeldSlot, record: Record) -> bool:
    """Whether nobody shares the cluster, and it has been idle for its time (no time at all: its run has ended)."""
    if record.state is State.SHARED and held.live_users(record):
        return False
    idle = records.idle_seconds(root.slots, held.number, record)
    return idle >= record.ttl if record.ttl > 0 else not _alive_of(root, record.run)


def _alive_of(root: Root, run: str) -> list[str]:
    names = sorted(path.name.removesuffix(".lock") for path in root.processes.glob(f"{run}.*.lock"))
    return [name for name in names if is_alive(root.processes, name)]


def _advise(actor: Actor, held: HeldSlot, cluster: str) -> Advice:
    root = actor.root
    while (record := held.look()) is not None and record.cluster == cluster:
        if record.state is State.QUARANTINED:
            return Advice()
        if record.state is State.DOOMED:
            held.delete(record)
        elif _is_over(root, held, record):
            held.doom(record, "it had been idle for its time")
        elif (advice := _not_now(root, held, record)) is not None:
            return advice
        elif record.state is State.SHARED:
            held.forget_users(record)
        elif record.attempts >= ATTEMPTS:
            held.doom(record, record.last_error)
        elif held.reset(record):
            held.announce(record)
    return Advice(stop=True)


def _not_now(root: Root, held: HeldSlot, record: Record) -> Advice | None:
    """When to look again at a cluster that is best left as it is for the moment."""
    run = tuple(str(root.processes / f"{name}.lock") for name in _alive_of(root, record.run))
    idle = records.idle_seconds(root.slots, held.number, record)
    if record.state is State.READY:
        if record.ttl > 0:
            return Advice(wake_after=record.ttl - idle)
        return Advice(wake_after=None if run else _BUSY, watch=run)
    if record.state is State.SHARED and held.live_users(record):
        return Advice(watch=tuple(str(root.processes / f"{name}.lock") for name in record.users))
    # A run that goes on may want it back as it is; and who waits resets it himself.
    patience = _ABANDONED if record.state is State.SHARED else _SETTLE
    if run and idle < patience:
        return Advice(wake_after=patience - idle, watch=run)
    return Advice(wake_after=_BUSY) if WaitingHint(root.slots / "waiting").fresh() else None


def _sweep_locks(root: Root) -> None:
    for path in (*root.processes.glob("*.lock"), *root.builds.glob("*.lock")):
        if (lock := try_lock(path)) is not None:
            drop_file(lock, path)
    for path in root.builds.glob("*.json"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _COUNT_AGE:
                path.unlink()
