"""The pool: hands out clusters to the processes of a machine, coordinated by nothing but file locks.

The protocol, with its states, rules and proofs, is docs/pool.md; tests/model explores it exhaustively.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from pytest_kina.errors import PoolTimeoutError, StateError
from pytest_kina.pool import records, tidying, warming
from pytest_kina.pool.actor import Actor, concurrency, describe, event_attributes
from pytest_kina.pool.asking import Asker
from pytest_kina.pool.builds import Build
from pytest_kina.pool.leases import Lease
from pytest_kina.pool.locks import ProcessLock
from pytest_kina.pool.memberships import Memberships
from pytest_kina.pool.records import State
from pytest_kina.pool.root import Root
from pytest_kina.pool.status import SlotStatus, status
from pytest_kina.pool.waiting_hint import WaitingHint
from pytest_kina.pool.wants import Want
from pytest_kina.timing import Phase, TimingRecorder
from pytest_kina.waiting import Deadline

_Result = TypeVar("_Result")

_POLL = 0.03  # seconds, growing to the next
_POLL_MAX = 0.1
_WAITS = (Phase.BUILD_WAIT, Phase.START_WAIT)
"""Waits that are recorded only when there were any, and are no part of ``lease_wait``."""


class Pool:
    """The clusters of this machine, as one process of one run sees them.

    ``run`` is 16 random hex digits, the same in all processes of a run; ``worker`` the xdist worker. ``size`` bounds
    the slots that this run fills. ``ttl`` (how long an idle cluster stays), ``lease_timeout`` and ``start_timeout``
    are in seconds.
    """

    def __init__(
        self,
        root: Root,
        *,
        run: str,
        worker: str,
        size: int,
        ttl: float,
        lease_timeout: float,
        start_timeout: float,
        recorder: TimingRecorder,
    ) -> None:
        self._actor = Actor(
            root=root, run=run, worker=worker, size=size, ttl=ttl, start_timeout=start_timeout, recorder=recorder
        )
        self._root = root
        self._lease_timeout = lease_timeout
        self._process = ProcessLock(root.processes, run)
        self._memberships = Memberships(self._process, run)
        self._pid = os.getpid()
        self._hint = WaitingHint(root.slots / "waiting")
        self._leases: list[Lease] = []

    def attend(self) -> None:
        """Take part in the run: it is not over before this process ends or calls :meth:`close`.

        :meth:`lease` does so too. Raises :class:`StateError`.
        """
        self._process.take()

    def lease(self, wants: Sequence[Want], *, note: str) -> list[Lease]:
        """Lease one cluster per want: all of them, or none. ``note`` (the test) is shown to those who wait.

        Raises :class:`PoolTimeoutError` after the lease time-out, or at once when the pool is too small for what this
        process holds and wants; :class:`~pytest_kina.errors.ProvisionError` when a cluster could not be made; and
        :class:`StateError`.
        """
        self._refuse_fork()
        self.attend()
        self._refuse_too_many(wants)
        self._be_courteous()
        for want in wants:
            self._actor.providers.setdefault(want.provider_name, want.provider)
        asker = Asker(replace(self._actor, test=note), self._process, self._memberships, wants)
        deadline, pause, waited = Deadline(self._lease_timeout), _POLL, dict.fromkeys(_WAITS, 0.0)
        while (leases := asker.attempt()) is None:
            if deadline.expired:
                raise self._timed_out(f"no cluster became free within {deadline.seconds:g} s")
            self._refuse_impossible(wants)
            began = deadline.elapsed
            self._hint.touch()
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(deadline.remaining, 0.001)))  # nosec B311  # noqa: S311 - jitter
            pause = min(pause * 1.2, _POLL_MAX)
            waited[Phase.BUILD_WAIT] += (deadline.elapsed - began) * asker.outpaced
            waited[Phase.START_WAIT] += (deadline.elapsed - began) * asker.starved
        for phase, seconds in waited.items():
            if seconds:
                self._record_wait(leases, phase, seconds)
        rest = deadline.elapsed - asker.worked - math.fsum(waited.values())
        self._record_wait(leases, Phase.LEASE_WAIT, max(0.0, rest))
        self._leases = [lease for lease in self._leases if not lease.released] + leases
        return leases

    def once(self, key: str, work: Callable[[], _Result]) -> _Result:
        """The result of ``work``, which no other process of this run does meanwhile under the same ``key``.

        When it fails with a :class:`~pytest_kina.errors.KinaError`, it is not tried again in this run: every process
        that asks for it gets an error of the same kind with the same cause.
        """
        return Build(self._root.builds, f"{self._actor.run}.{key}").once(work, self._lease_timeout)

    def somebody_waits(self) -> bool:
        """Whether another process waited for a slot a moment ago. A hint: it may have been served since."""
        return self._hint.fresh()

    def has_room(self) -> bool:
        """Whether a slot that this run may fill is empty."""
        slots = self._root.slots
        return any(not records.record_path(slots, number).exists() for number in range(self._actor.size))

    def ready(self, want: Want) -> int:
        """How many clusters for ``want`` stand READY, by their records."""
        return warming.ready(self._actor, want)

    def tidy(self, budget: float = 2.0) -> list[str]:
        """Delete what dead processes left and what has been idle too long; sentences of what was done.

        Begins nothing after ``budget`` seconds. Waits for nobody, and touches nothing that is in use.
        """
        return tidying.tidy(self._actor, budget)

    def retire(self, *, everything: bool = True) -> list[str]:
        """Delete the clusters that this run leaves behind, each a timed ``delete``; sentences of what was done.

        Without ``everything`` only those that nobody will use again, because they were used and cannot be reset.
        For the end of a run: call it when its other processes have ended. Clusters that others
        hold are left alone; for a process of this run that is still ending it waits 10 s at most.
        """
        self._give_everything_back()
        # An interrupted hand-out may have left our name in a record, which must not look like somebody at work.
        self._process.drop()
        return tidying.retire(self._actor, everything=everything)

    def status(self) -> list[SlotStatus]:
        """Every slot at this moment."""
        return status(self._root, self._actor.size)

    def close(self) -> None:
        """Give back what is still leased, and the process lock. The pool may be used again afterwards."""
        if os.getpid() == self._pid:
            self._give_everything_back()
            self._process.drop()

    def _give_everything_back(self) -> None:
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.release()

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise StateError(
                f"process {os.getpid()} is a fork of process {self._pid}, whose leases it cannot use",
                next_step="lease clusters in the test's own process",
                path=str(self._root.path),
            )

    def _refuse_too_many(self, wants: Sequence[Want]) -> None:
        mine, new = self._claimed(wants)
        if mine + new > self._actor.size:  # else not even the directory has to be read
            self._refuse_above(len({*range(self._actor.size), *records.numbers(self._root.slots)}), wants)

    def _refuse_impossible(self, wants: Sequence[Want]) -> None:
        known = records.survey(self._root.slots)
        quarantined = sum(record.state is State.QUARANTINED for record in known.values())
        self._refuse_above(len({*range(self._actor.size), *known}) - quarantined, wants)

    def _claimed(self, wants: Sequence[Want]) -> tuple[int, int]:
        """How many slots this process holds, and how many more it asks for."""
        mine = {lease.number for lease in self._leases if not lease.released}
        joinable = {lease.want.fingerprint for lease in self._leases if lease.want.shared and not lease.released}
        return len(mine), sum(not want.shared or want.fingerprint not in joinable for want in wants)

    def _refuse_above(self, usable: int, wants: Sequence[Want]) -> None:
        mine, new = self._claimed(wants)
        if mine + new > usable:
            raise self._timed_out(
                f"this process holds {mine} clusters and asks for {new} more, but the pool has {usable} usable slots"
            )

    def _be_courteous(self) -> None:
        # Who has just released is awake and would get the slot again, before those who sleep between two looks.
        released = max((lease.released_at for lease in self._leases if lease.released), default=float("-inf"))
        if time.monotonic() - released < 2 * _POLL and self._hint.fresh():
            time.sleep(_POLL * random.uniform(1.5, 2.5))  # nosec B311  # noqa: S311 - jitter

    def _record_wait(self, leases: Sequence[Lease], phase: Phase, seconds: float) -> None:
        busy = concurrency(self._root)
        for lease in leases:
            about = event_attributes(lease.want.provider, describe(lease.directory))
            how = {"cluster": lease.name, "start": lease.start, "concurrency": busy}
            self._actor.recorder.add(phase, seconds, **{**about, **how})

    def _timed_out(self, problem: str) -> PoolTimeoutError:
        slots = "\n".join(f"  {each.sentence()}" for each in self.status())
        return PoolTimeoutError(
            f"{problem} (pool {self._root.path}):\n{slots}",
            next_step="end what holds them, raise --kina-pool-size or --kina-lease-timeout, "
            "or look with `pytest-kina status`",
        )
