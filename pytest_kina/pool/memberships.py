"""Sharing one cluster between the processes of a run: joining it, leaving it, and counting the leases in between."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

from pytest_kina.errors import StateError
from pytest_kina.pool import records
from pytest_kina.pool.actor import Actor, SlotUnusable, place_of, unhealthy
from pytest_kina.pool.locks import ProcessLock
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.pool.wants import Want

_log = logging.getLogger(__name__)

_JOIN = 2.0  # seconds to wait for a slot's lock; others hold that of a shared cluster for milliseconds
_LEAVE = 10.0


class Memberships:
    """The shared clusters that this process uses, each with the number of its leases.

    The record names the process once, however many leases it has; a membership also ends with the process.
    """

    def __init__(self, process: ProcessLock, run: str) -> None:
        self._process = process
        self._run = run
        # A lease may be given back by another thread than the one that asks for the next.
        self._guard = threading.Lock()
        self._leases: Counter[str] = Counter()
        self._places: dict[tuple[str, int], int] = {}

    def find(self, actor: Actor, want: Want, share: int) -> tuple[int, Record] | None:
        """Slot and record of the cluster that the run shares for ``want``, as they look without a lock."""
        slots, key = actor.root.slots, (want.fingerprint, share)
        # There is one at most, so it is where it was the last time, or somewhere new.
        last = self._places.get(key)
        if last is not None and (record := records.peek(slots, last)) and self._ours(record, want, share):
            return last, record
        for number, record in records.survey(slots).items():
            if self._ours(record, want, share):
                self._places[key] = number
                return number, record
        return None

    def join(self, actor: Actor, want: Want, share: int) -> tuple[int, str] | None:
        """Become a user of that cluster: its slot and name, or None when there is none that could be joined.

        One that has died is marked, so that the run makes another.
        """
        found = self.find(actor, want, share)
        if found is None:
            return None
        number, seen = found
        # Asked before the slot is locked: else all who lease it at one moment would wait for each other's questions.
        well = unhealthy(want.provider, place_of(actor.root, number, seen.cluster)) is None
        held = HeldSlot.take(actor, number, _JOIN)
        if held is None:
            return None
        with closing(held):
            try:
                record = held.look()
                if record is None or not self._ours(record, want, share):
                    return None
                if not (well and record.cluster == seen.cluster) and (why := held.unhealthy(record)) is not None:
                    held.write(replace(record, broken=True, last_error=why))
                    return None
            except SlotUnusable:
                return None
            self._enter(held, record)
        return number, record.cluster

    def count(self, cluster: str) -> None:
        """One more lease of a cluster whose record names this process."""
        with self._guard:
            self._leases[cluster] += 1

    def leave(self, actor: Actor, number: int, cluster: str) -> None:
        """One lease less; the last one takes this process off the record.

        When the slot stays locked for 10 s the name stays: it ends with the process.
        """
        with self._guard:
            self._leases[cluster] -= 1
            if self._leases[cluster] > 0:
                return
        try:
            held = HeldSlot.take(actor, number, _LEAVE)
            if held is not None:
                with closing(held):
                    self._exit(held, cluster)
        except (StateError, SlotUnusable) as error:
            _log.warning("could not sign off from %s: %s", cluster, error)

    def keep(self, actor: Actor, number: int, cluster: str, why: str) -> bool:
        """Leave the cluster to a person once all its users have left; False when that could not be noted."""
        held = HeldSlot.take(actor, number, _JOIN)
        if held is None:
            return False
        with closing(held):
            record = held.look()
            if record is None or record.cluster != cluster:
                return False
            held.keep(why)
        return True

    def _ours(self, record: Record, want: Want, share: int) -> bool:
        return (
            record.state is State.SHARED
            and not record.broken
            and (record.run, record.fingerprint, record.share) == (self._run, want.fingerprint, share)
        )

    def _enter(self, held: HeldSlot, record: Record) -> None:
        if self._process.name not in record.users:
            held.write(replace(record, users=(*record.users, self._process.name), idle_since=None))
        self.count(record.cluster)

    def _exit(self, held: HeldSlot, cluster: str) -> None:
        # Counted under the slot's lock, as in joining: another thread may have joined again meanwhile.
        with self._guard:
            if self._leases[cluster] > 0:
                return
            del self._leases[cluster]
        record = held.look()
        if record is None or record.cluster != cluster or record.state is not State.SHARED:
            return
        left = tuple(user for user in record.users if user != self._process.name)
        held.write(replace(record, users=left, idle_since=None if left else time.time()))
