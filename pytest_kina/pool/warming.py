"""Warming: making clusters READY that nobody has asked for yet, ahead of those who will.

Nothing goes for it: a cluster that was used is reset, or an empty slot is filled. Whoever needs a cluster meanwhile
finds slots as busy as with any other process, and takes what is READY first.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace

from pytest_kina import memory
from pytest_kina.errors import PoolTimeoutError
from pytest_kina.pool import permits, records
from pytest_kina.pool.actor import Actor, SlotUnusable
from pytest_kina.pool.permits import StartsBusy
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.slot import ATTEMPTS, HeldSlot, fits
from pytest_kina.pool.wants import Want
from pytest_kina.waiting import Deadline

RESERVE = 650 * 2**20
"""Bytes that a cluster of which nothing was recorded may take: one with all components was measured under some load."""

_POLL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A cluster that stands ready: in which slot, and how it came about."""

    slot: int
    record: Record
    start: str


def ready(actor: Actor, want: Want) -> int:
    """How many clusters that fit stand READY now, by their records."""
    found = records.survey(actor.root.slots).values()
    return sum(record.state is State.READY and fits(record, want) for record in found)


def warm(actor: Actor, want: Want, *, another: bool = False) -> Warm | None:
    """A READY cluster for ``want``; None when every slot is taken. No other cluster goes for it.

    ``another`` leaves those alone that are READY already. Waits for a start permit up to the start time-out. Raises
    :class:`PoolTimeoutError` at its end, and :class:`~pytest_kina.errors.ProvisionError`.
    """
    deadline = Deadline(actor.start_timeout)
    while True:
        try:
            return _attempt(actor, want, another=another)
        except StartsBusy as error:
            if deadline.expired:
                raise PoolTimeoutError(
                    f"{permits.limit()} other clusters were starting for {deadline.seconds:g} s",
                    next_step="try again when they are ready, or raise --start-timeout",
                ) from error
            time.sleep(_POLL)


def memory_suffices(needed: int = RESERVE) -> bool:
    """Whether ``needed`` bytes of memory are available for one more cluster; True where nobody says."""
    left = memory.available()
    return left is None or left >= needed


def _attempt(actor: Actor, want: Want, *, another: bool) -> Warm | None:
    """Raises :class:`StartsBusy` when too many others start."""
    numbers = {*range(actor.size), *records.numbers(actor.root.slots)}
    for number in sorted(numbers, key=lambda number: (_rank(actor, number, want), number)):
        held = HeldSlot.take(actor, number)
        if held is None:
            continue
        with closing(held):
            if (made := _made(actor, held, want, another=another)) is not None:
                return made
    return None


def _rank(actor: Actor, number: int, want: Want) -> int:
    """Clean ones first, then those that need a reset, then empty slots; also without the lock good for an order."""
    record = records.peek(actor.root.slots, number)
    if record is None:
        return 2
    return (State.READY, State.DIRTY).index(record.state) if _serves(record, want) else 3


def _serves(record: Record, want: Want) -> bool:
    clean_or_resettable = record.state is State.READY or (record.state is State.DIRTY and record.attempts < ATTEMPTS)
    return clean_or_resettable and fits(record, want)


def _made(actor: Actor, held: HeldSlot, want: Want, *, another: bool) -> Warm | None:
    try:
        record = held.look()
        if record is not None and (another and record.state is State.READY):
            return None
        if record is not None and record.state is not State.DOOMED and not _serves(record, want):
            return None
        if (start := held.fill(want)) is None:
            return None
        record = held.look()
    except SlotUnusable:
        return None
    assert record is not None, "a slot that was filled has a record"
    announced = held.announce(replace(record, run=actor.run, ttl=actor.ttl, last_error=""))
    return Warm(slot=held.number, record=announced, start=start)
