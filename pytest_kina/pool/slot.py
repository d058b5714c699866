"""What may be done to one slot by the holder of its lock: create, check, reset, delete, hand out.

Every method writes the will first: the record that the next holder should find if this process dies in the middle.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina import crashpoints
from pytest_kina.errors import KinaError, ProviderUnavailableError, StateError, one_line
from pytest_kina.files import NewerSchema, Torn
from pytest_kina.pool import janitor, permits, records
from pytest_kina.pool.actor import (
    Actor,
    SlotUnusable,
    clusters_of,
    describe,
    made_by_another,
    newer_description,
    place_of,
    unhealthy,
)
from pytest_kina.pool.creation import Creation
from pytest_kina.pool.locks import is_alive, try_lock, wait_for_lock
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.wants import Want
from pytest_kina.providers import CannotReset, Place, Provider, Resets
from pytest_kina.spec import ClusterDescription, Isolation
from pytest_kina.timing import Phase

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How many resets, and how many deletes, of one cluster may begin."""


def fits(record: Record, want: Want) -> bool:
    """Whether the cluster may serve ``want`` once it is clean."""
    unused = record.uses == 0 or want.isolation is not Isolation.FRESH
    return record.fingerprint == want.fingerprint and unused


class HeldSlot:
    """A slot whose lock this process holds, from :meth:`take` until :meth:`close`."""

    def __init__(self, actor: Actor, number: int, lock: BaseFileLock) -> None:
        self._actor = actor
        self._root = actor.root
        self._lock = lock
        self.number = number
        self.said: list[str] = []
        self.worked = 0.0
        self.problem = ""
        self.permitted = False

    @classmethod
    def take(cls, actor: Actor, number: int, patience: float = 0.0) -> HeldSlot | None:
        """Lock the slot; None when somebody else holds it (after ``patience`` seconds)."""
        path = records.lock_path(actor.root.slots, number)
        with crashpoints.around("lock.slot"):
            lock = wait_for_lock(path, patience) if patience else try_lock(path)
        return cls(actor, number, lock) if lock is not None else None

    def close(self) -> None:
        """Unlock. Nothing else: what has to be done is in the record."""
        with crashpoints.around("unlock.slot"):
            self._lock.release()

    def release(self) -> None:
        """End an exclusive lease: note the time, so that idleness counts from here, and unlock."""
        with suppress(OSError):
            os.utime(records.record_path(self._root.slots, self.number))
        self.close()

    def keep(self, why: str) -> None:
        """Once it is no longer in use the cluster is for a person: quarantined as it is, also if it was a fresh one."""
        record = records.read(self._root.slots, self.number)
        assert record is not None, "a cluster in use has a record"
        state = State.DIRTY if record.state is State.DOOMED else record.state
        self.write(replace(record, state=state, kept=True, last_error=f"kept: {why}"))

    def look(self) -> Record | None:
        """The truth about this slot; None when it is empty, and nothing in the pool's directories is left of it.

        A cluster without a record (a torn one, or one that somebody removed) gets a DOOMED one here. Raises
        :class:`SlotUnusable`.
        """
        try:
            record = records.read(self._root.slots, self.number)
        except NewerSchema as error:
            raise SlotUnusable(str(error)) from error
        except Torn as error:
            self._say(f"the record of slot {self.number} was malformed and has been moved to {error}")
            record = None
        if record is not None and record.kept and record.state in (State.DIRTY, State.SHARED):
            record = (
                record if self.live_users(record) else self.write(replace(record, state=State.QUARANTINED, users=()))
            )
        if record is not None:
            self._refuse_newer(record.cluster)
        return record or self._doom_leftover()

    def _refuse_newer(self, cluster: str) -> None:
        if why := newer_description(self._root.clusters / cluster):
            raise SlotUnusable(f"slot {self.number}: {why}")

    def write(self, record: Record) -> Record:
        """Write the record; only the holder of the lock may."""
        assert self._lock.is_locked, "a record is written under the slot's lock only"
        records.write(self._root.slots, self.number, record)
        return record

    def live_users(self, record: Record) -> bool:
        """Whether a process that shares the cluster still lives."""
        return any(is_alive(self._root.processes, user) for user in record.users)

    def doom(self, record: Record, why: str) -> Record:
        """From now on the cluster is to be deleted."""
        return self.write(
            replace(record, state=State.DOOMED, users=(), attempts=0, last_error=why, note=self._actor.note("deleting"))
        )

    def forget_users(self, record: Record) -> Record:
        """All users are dead or have left: the cluster is dirty for everybody."""
        return self.write(
            replace(
                record,
                state=State.DIRTY,
                users=(),
                attempts=0,
                idle_since=time.time() - records.idle_seconds(self._root.slots, self.number, record),
            )
        )

    def fill(self, want: Want, before_create: Callable[[], None] | None = None) -> str | None:
        """Bring the slot to a complete, clean and healthy cluster for ``want``.

        Returns how it came about (``fresh``, ``template``, ``spare``, ``reused``), or None when this slot cannot serve.
        Raises :class:`ProvisionError` when making the cluster failed, and :class:`StartsBusy` unless the caller has a
        permit already (``permitted``). Every turn of the loop uses up an attempt.
        """
        while (record := self.look()) is not None:
            if record.state is State.READY and fits(record, want):
                if (why := self.unhealthy(record)) is None:
                    return "reused" if record.uses else "spare"
                self.doom(record, why)
            elif record.state is State.DIRTY and fits(record, want) and record.attempts < ATTEMPTS:
                if self.reset(record):
                    return "reused"
            elif not self._clear(record):
                return None
        if self.number >= self._actor.size:
            return None
        with self._permit():
            if before_create is not None:
                before_create()
            return self._create(want)

    def hand_out(self, want: Want, *, share: int, user: str) -> Record:
        """Write what is true if the taker dies in use: DIRTY, SHARED, or DOOMED for a fresh one."""
        record = self.look()
        assert record is not None, "a slot is handed out after it has been filled"
        state = State.SHARED if want.shared else State.DIRTY
        state = State.DOOMED if want.isolation is Isolation.FRESH else state
        handed = replace(
            record,
            state=state,
            run=self._actor.run,
            users=(user,) if want.shared else (),
            share=share,
            broken=False,
            attempts=0,
            uses=record.uses + 1,
            ttl=self._actor.ttl if _resets(self._provider(record.provider)) else 0.0,  # nobody will use it again
            idle_since=None,
            last_error="",
            note=self._actor.note("using"),
        )
        try:
            self.write(handed)
        except StateError:
            # Nobody will be told about the new cluster, so it must not stay.
            if record.state is State.DOOMED:
                self.delete(record)
            raise
        try:
            self._adopt(handed)
        except Exception as error:  # it ends with us, and nobody may be named as its user
            self.doom(handed, f"it could not be adopted: {one_line(error)}")
            raise
        return handed

    def place(self, name: str) -> Place:
        """Where a cluster of this slot lives."""
        return place_of(self._root, self.number, name)

    def unhealthy(self, record: Record) -> str | None:
        """One sentence that says why the cluster must not be handed out, or None."""
        return unhealthy(self._provider(record.provider), self.place(record.cluster))

    def dead(self, record: Record) -> str | None:
        """Why a cluster that nobody uses is of no use to anybody, or None.

        Clusters that another version of their provider made are taken to be well: how they are, only that one knows.
        """
        if made_by_another(self._root.clusters / record.cluster, self._provider(record.provider)):
            return None
        return self.unhealthy(record)

    def reset(self, record: Record) -> bool:
        """Count an attempt and reset the cluster; True when it is clean again (the record still says DIRTY).

        One that cannot be reset is DOOMED. Raises :class:`StartsBusy` unless the caller has a start permit.
        """
        with self._permit():
            return self._reset(record)

    def _reset(self, record: Record) -> bool:
        description = describe(self._root.clusters / record.cluster)
        if description is None:
            self.doom(record, "its cluster.json is missing or malformed")
            return False
        provider = self._provider(record.provider)
        if not isinstance(provider, Resets) or not _resets(provider):
            self.doom(record, "its provider cannot reset clusters, so each is used once")
            return False
        record = self.write(replace(record, attempts=record.attempts + 1, note=self._actor.note("resetting")))
        stopwatch = self._actor.stopwatch(provider, description, start="reused")
        began = time.perf_counter()
        try:
            with crashpoints.around("reset"):
                provider.reset(
                    description.spec, self.place(record.cluster), stopwatch, timeout=self._actor.start_timeout
                )
        except CannotReset as error:
            self.doom(record, one_line(error))
            return False
        except Exception as error:  # whatever it was, the cluster is not clean; the next attempt or a delete follows
            self._failed("resetting", record, error)
            return False
        finally:
            self.worked += time.perf_counter() - began
        return True

    def announce(self, record: Record) -> Record:
        """The cluster is clean and nobody's: READY."""
        now = time.time()
        ready = replace(record, state=State.READY, users=(), attempts=0, idle_since=now, note=self._actor.note("idle"))
        self.write(ready)
        self._adopt(ready)
        return ready

    def delete(self, record: Record) -> bool:
        """Count an attempt and delete the cluster of a DOOMED record; True when the slot is EMPTY.

        Quarantines it when the attempts are used up.
        """
        if record.attempts >= ATTEMPTS:
            self._say(
                f"slot {self.number}: {record.cluster} could not be deleted and is quarantined: {record.last_error}"
            )
            self.write(replace(record, state=State.QUARANTINED, note=self._actor.note("given up")))
            return False
        description = describe(self._root.clusters / record.cluster)
        providers = self._deleters(record, description)
        record = replace(record, attempts=record.attempts + 1, note=self._actor.note("deleting"))
        # On a full disk the count cannot be written, but deleting is just what makes room.
        with suppress(StateError):
            self.write(record)
        try:
            for provider in providers:
                stopwatch = self._actor.stopwatch(provider, description, cluster=record.cluster)
                with stopwatch.phase(Phase.DELETE), crashpoints.around("delete"):
                    provider.delete(self.place(record.cluster))
            with crashpoints.around("directory.remove"):
                _remove_directory(self._root.clusters / record.cluster)
        except Exception as error:  # counted above; the record keeps it for the next attempt
            self._failed("deleting", record, error)
            return False
        records.remove(self._root.slots, self.number)
        self._say(
            f"slot {self.number}: deleted {record.cluster}" + (f" ({record.last_error})" * bool(record.last_error))
        )
        return True

    def delete_stranger(self, name: str) -> None:
        """Delete a cluster that is named for this slot, but not by its record; the next tidier tries again."""
        try:
            self._refuse_newer(name)
            description = describe(self._root.clusters / name)
            owner = [self._provider(description.provider)] if description else self._actor.providers.values()
            for provider in owner:
                provider.delete(self.place(name))
            _remove_directory(self._root.clusters / name)
        except Exception as error:  # a leftover must not keep us from the slot's own cluster
            self._say(f"slot {self.number}: the leftover {name} could not be deleted: {one_line(error)}")
        else:
            self._say(f"slot {self.number}: deleted the leftover {name}")

    def _clear(self, record: Record) -> bool:
        """One step towards an empty slot; False when somebody uses the cluster, or it is quarantined."""
        if record.state is State.DOOMED:
            self.delete(record)
        elif record.state is State.SHARED and not self.live_users(record):
            self.forget_users(record)
        elif record.state in (State.READY, State.DIRTY):
            self.doom(record, "the slot was wanted for another cluster")
        else:
            return False
        return True

    def _permit(self) -> AbstractContextManager[None]:
        return nullcontext() if self.permitted else permits.permit(self._root.starts)

    def _adopt(self, record: Record) -> None:
        with crashpoints.around("adopt"):
            provider = self._provider(record.provider)
            provider.adopt(self.place(record.cluster))
        if not provider.info.supervised:
            janitor.ensure(self._root)

    def _create(self, want: Want) -> str:
        creation = Creation(self._actor, self.number, want)
        intent = creation.intent()
        self._actor.providers.setdefault(want.provider_name, want.provider)
        self.write(intent)
        began = time.perf_counter()
        try:
            return creation.make()
        except Exception as error:
            logs = creation.logs(error)
            gone = self.delete(replace(intent, last_error=one_line(error)))
            # The message has all that such an error says; chained, its log would be shown twice.
            raise creation.failure(error, logs, gone=gone) from (None if isinstance(error, KinaError) else error)
        finally:
            self.worked += time.perf_counter() - began

    def _failed(self, doing: str, record: Record, error: Exception) -> None:
        self.problem = f"{doing} {record.cluster} failed: {one_line(error)}"
        self._say(f"slot {self.number}: {self.problem}")
        with suppress(StateError):  # it is a message only; a full disk must not hide the first error
            self.write(replace(record, last_error=self.problem))

    def _doom_leftover(self) -> Record | None:
        leftovers = clusters_of(self._root, self.number)
        if not leftovers:
            return None
        self._refuse_newer(leftovers[0])
        description = describe(self._root.clusters / leftovers[0])
        self._say(f"slot {self.number}: {leftovers[0]} has no record")
        return self.write(
            Record(
                state=State.DOOMED,
                cluster=leftovers[0],
                provider=description.provider if description else "",
                fingerprint=description.fingerprint if description else "",
                run=self._actor.run,
                last_error="it had no record",
                note=self._actor.note("deleting"),
            )
        )

    def _deleters(self, record: Record, description: ClusterDescription | None) -> list[Provider]:
        name = record.provider or (description.provider if description else "")
        # Nobody knows whose it was: every provider that we know may try, as deleting what is absent succeeds.
        return [self._provider(name)] if name else list(self._actor.providers.values())

    def _provider(self, name: str) -> Provider:
        try:
            return self._actor.provider(name)
        except ProviderUnavailableError as error:
            raise SlotUnusable(f"slot {self.number}: {error.message}") from error

    def _say(self, sentence: str) -> None:
        _log.info("%s", sentence)
        self.said.append(sentence)


def _resets(provider: Provider) -> bool:
    return isinstance(provider, Resets) and "reset" in provider.info.capabilities


def _remove_directory(path: Path) -> None:
    while path.exists():
        # Files may vanish under our hands (a process of the cluster ends); that is no reason to stop half-way.
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
