"""Cleaning up after the dead, after idleness, and after a run that keeps nothing.

All of it goes slot by slot with try-locks, so it never waits for anybody and never touches what is in use. Also here:
the decision of the idle helper, which a cluster's supervisor starts (docs/architecture.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial

from pytest_kina.errors import KinaError, ProviderUnavailableError
from pytest_kina.pool import records
from pytest_kina.pool.actor import Actor, SlotUnusable, clusters_of, slot_of
from pytest_kina.pool.judging import alive, is_over, judge
from pytest_kina.pool.permits import StartsBusy
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.root import Root
from pytest_kina.pool.slot import ATTEMPTS, HeldSlot
from pytest_kina.pool.sweeping import sweep
from pytest_kina.pool.waiting_hint import WaitingHint
from pytest_kina.providers import Provider
from pytest_kina.waiting import Deadline

_log = logging.getLogger(__name__)

_RETIRE = 10.0  # seconds that the end of a run waits for its last processes
_RETIRE_POLL = 0.1
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


def tidy(actor: Actor, budget: float, *, force: bool = False) -> list[str]:
    """See :meth:`pytest_kina.pool.Pool.tidy`; ``force`` as in :func:`pytest_kina.pool.judging.judge`."""
    deadline = Deadline(budget)
    # Listed before any slot is locked: what is made meanwhile has a record by the time we look at its slot.
    _meet_providers(actor)
    known, said = backends(actor.root, actor.providers)
    for number in sorted({*_all_slots(actor), *_slots_named(actor, known)}):
        if deadline.expired:
            said.append(f"tidying ended after {budget:g} s; the rest is left to the next run")
            break
        said += _with_slot(actor, number, partial(_tidy_slot, actor, known, force))
    return said + sweep(actor.root)


def backends(root: Root, providers: Mapping[str, Provider]) -> tuple[frozenset[str], list[str]]:
    """All clusters that the providers know of here, and sentences about those that could not tell."""
    found: set[str] = set()
    said: list[str] = []
    for name, provider in providers.items():
        try:
            found.update(provider.leftovers(root.clusters))
        except Exception as error:  # one tool that is out of order must not keep the rest from being tidied
            said.append(f"{name} could not be asked for clusters without a record: {type(error).__name__}: {error}")
    return frozenset(found), said


def retire(actor: Actor, *, everything: bool) -> list[str]:
    """See :meth:`pytest_kina.pool.Pool.retire`."""
    deadline = Deadline(_RETIRE)
    said: list[str] = []
    refused: set[int] = set()  # waiting would not make them ours
    while left := _slots_of(actor, everything) - refused:
        for number in sorted(left):
            said += _with_slot(actor, number, partial(_retire_slot, actor, everything, refused))
        if not _slots_of(actor, everything) - refused:
            break
        if deadline.expired:
            still = ", ".join(map(str, sorted(left)))
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
        except StartsBusy:
            return Advice(wake_after=_BUSY)
        except (SlotUnusable, KinaError) as error:
            _log.warning("slot %s: %s", number, error)
            return Advice(wake_after=_LATER)


def _all_slots(actor: Actor) -> list[int]:
    slots = actor.root.slots
    locked = (int(path.stem) for path in slots.glob("*.lock") if path.stem.isdecimal())
    return sorted({*range(actor.size), *records.numbers(slots), *locked})


def _slots_of(actor: Actor, everything: bool) -> set[int]:
    slots = actor.root.slots
    return {number for number in records.numbers(slots) if _left_by(records.peek(slots, number), actor.run, everything)}


def _meet_providers(actor: Actor) -> None:
    """Have the providers of all records at hand, as far as they are installed here."""
    for record in records.survey(actor.root.slots).values():
        if record.provider:
            with suppress(ProviderUnavailableError):
                actor.provider(record.provider)


def _slots_named(actor: Actor, known: frozenset[str]) -> list[int]:
    """The slots that clusters of this pool are named for, also when nobody has ever used such a slot here."""
    return [number for name in known if (number := slot_of(actor.root, name)) is not None]


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


def _tidy_slot(actor: Actor, known: frozenset[str], force: bool, held: HeldSlot) -> None:
    # Only the holder of the lock writes the record: what others were writing they have not lived to move into place.
    for left in actor.root.slots.glob(f".{held.number}.json.*.tmp"):
        left.unlink(missing_ok=True)
    judged: set[str] = set()
    while (record := held.look()) is not None:
        judged.add(record.cluster)
        judged_now = judge(actor.root, held.number, record, run=actor.run, check=held.dead, force=force)
        if judged_now.decision == "keep":
            break
        if record.state is State.DOOMED:
            held.delete(record)
        elif record.state is State.QUARANTINED:
            # The run is noted, so that each later run tries once and no more.
            held.write(replace(record, state=State.DOOMED, attempts=ATTEMPTS - 1, run=actor.run))
        else:
            held.doom(record, judged_now.why)
    ours = {name for name in known if slot_of(actor.root, name) == held.number}
    ours |= set(clusters_of(actor.root, held.number))
    for name in sorted(ours - judged):
        held.delete_stranger(name)


def _retire_slot(actor: Actor, everything: bool, refused: set[int], held: HeldSlot) -> None:
    try:
        _delete_left(actor, everything, held)
    except SlotUnusable:
        refused.add(held.number)
        raise


def _delete_left(actor: Actor, everything: bool, held: HeldSlot) -> None:
    while (record := held.look()) is not None and _left_by(record, actor.run, everything):
        if record.state is State.DOOMED:
            held.delete(record)
        elif record.state is State.SHARED and held.live_users(record):
            break
        else:
            held.doom(record, "")


def _left_by(record: Record | None, run: str, everything: bool) -> bool:
    if record is None or record.run != run or record.state is State.QUARANTINED:
        return False
    return everything or not record.ttl


def _advise(actor: Actor, held: HeldSlot, cluster: str) -> Advice:
    root = actor.root
    while (record := held.look()) is not None and record.cluster == cluster:
        if record.state is State.QUARANTINED:
            return Advice()
        if record.state is State.DOOMED:
            held.delete(record)
        elif not held.live_users(record) and (over := is_over(root, held.number, record)):
            held.doom(record, over)
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
    run = tuple(str(root.processes / f"{name}.lock") for name in alive(root, record.run))
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
