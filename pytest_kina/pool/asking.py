"""One process asking for clusters: an attempt gets all of them or keeps nothing, and waits for nobody meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from pytest_kina.errors import ProviderUnavailableError, ProvisionError
from pytest_kina.pool import permits, records
from pytest_kina.pool.actor import Actor, SlotUnusable, place_of
from pytest_kina.pool.builds import Build
from pytest_kina.pool.leases import Lease
from pytest_kina.pool.locks import ProcessLock, wait_for_lock
from pytest_kina.pool.memberships import Memberships
from pytest_kina.pool.permits import StartsBusy
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.slot import HeldSlot, fits
from pytest_kina.pool.wants import Want

_REUSES = 1
"""The rank of a slot whose cluster fits, after a reset at most."""

_KEEPING = "keeping.lock"
_KEEP_PATIENCE = 5.0  # seconds; to keep a shared cluster takes two at most

_EVICTS = 4
"""The rank of a slot whose clean cluster would have to go."""


class _Busy(Exception):
    """Not all of it can be had now."""


@dataclass(frozen=True, slots=True)
class _Claim:
    index: int
    want: Want
    share: int
    build: Build
    held: HeldSlot


class Asker:
    """Asks for the same wants until it has them.

    ``worked`` is the seconds spent in creating and resetting; ``outpaced`` is True when the latest attempt ended
    because another process of the run is making the cluster, ``starved`` when all start permits were taken.
    """

    def __init__(self, actor: Actor, process: ProcessLock, memberships: Memberships, wants: Sequence[Want]) -> None:
        self._actor = actor
        self._root = actor.root
        self._process = process
        self._memberships = memberships
        self._wants = wants
        self._leases: dict[int, Lease] = {}
        self.worked = 0.0
        self.outpaced = False
        self.starved = False

    def attempt(self) -> list[Lease] | None:
        """The leases in the order of the wants, or None when something is not to be had now.

        Raises :class:`~pytest_kina.errors.ProvisionError`.
        """
        self._leases, self.outpaced, self.starved = {}, False, False
        with ExitStack() as undo:
            # The inner one: when a build lock cannot be given up, nobody would be told of the leases.
            with ExitStack() as always:
                try:
                    self._claim_and_fill(always, undo)
                except StartsBusy:
                    self.starved = True
                    return None
                except _Busy:
                    return None
            undo.pop_all()
        return [self._leases[index] for index in range(len(self._wants))]

    def _claim_and_fill(self, always: ExitStack, undo: ExitStack) -> None:
        # All that can be joined, before any slot is locked: joining must not wait meanwhile, least of all for us,
        # when the cluster that we shared last is the best slot for another one.
        missing = [(index, share) for index, share in self._order() if not self._joins(index, share, undo)]
        claims = [self._seek(index, share, always, undo) for index, share in missing]
        if starts := any(map(self._has_to_start, claims)):
            # Before anything is made: who got a permit for the first one only would have made it in vain.
            always.enter_context(permits.permit(self._root.starts))
        for claim in claims:
            claim.held.permitted = starts
            self._fill(claim, undo)

    def _has_to_start(self, claim: _Claim) -> bool:
        record = records.peek(self._root.slots, claim.held.number)
        return record is None or record.state is not State.READY or not fits(record, claim.want)

    def _order(self) -> list[tuple[int, int]]:
        # Shared ones first, and always in the same order: who elects must not wait for who elects in another order.
        indexes = sorted(range(len(self._wants)), key=lambda i: (not self._wants[i].shared, self._wants[i].fingerprint))
        seen: Counter[str] = Counter()
        order = []
        for index in indexes:
            want = self._wants[index]
            order.append((index, seen[want.fingerprint] if want.shared else 0))
            seen[want.fingerprint] += want.shared
        return order

    def _joins(self, index: int, share: int, undo: ExitStack) -> bool:
        """Whether the want is met, because its cluster is shared by the run already."""
        want = self._wants[index]
        if not want.shared or (joined := self._memberships.join(self._actor, want, share)) is None:
            return False
        self._keep(index, *joined, "reused", undo)
        return True

    def _seek(self, index: int, share: int, always: ExitStack, undo: ExitStack) -> _Claim:
        """A claim on a slot."""
        want = self._wants[index]
        build = Build(self._root.builds, f"{self._actor.run}.{want.fingerprint}" + (f"-{share}" if share else ""))
        if want.shared:
            self._elect(build, want, share, always)
        # Who has failed too often makes none any more, but may use what is there.
        held = self._claim_slot(want, (_REUSES,) if build.hopeless else (_EVICTS - 1, _EVICTS))
        if held is None:
            build.refuse_hopeless()
            raise _Busy
        undo.callback(held.close)
        return _Claim(index, want, share, build, held)

    def _elect(self, build: Build, want: Want, share: int, always: ExitStack) -> None:
        lock = build.elect()
        if lock is None:
            self.outpaced = True
            raise _Busy
        always.callback(build.give_up, lock)
        # While we hold the build lock nobody else can share such a cluster, so one look at the records suffices.
        if self._memberships.find(self._actor, want, share) is not None:
            raise _Busy

    def _claim_slot(self, want: Want, limits: Sequence[int]) -> HeldSlot | None:
        """The best slot that is free and could serve, locked; a clean cluster is given up only for want of better."""
        for limit in limits:
            for number in self._candidates(want, limit):
                held = HeldSlot.take(self._actor, number)
                if held is None:
                    continue
                try:
                    suits = self._suits(held, want, limit)
                except BaseException:
                    held.close()
                    raise
                if suits:
                    return held
                held.close()
        return None

    def _candidates(self, want: Want, limit: int) -> list[int]:
        slots, known = self._root.slots, records.survey(self._root.slots)
        ranked = []
        for number in sorted({*range(self._actor.size), *known}):
            record = known.get(number)
            rank = self._rank(number, record, want)
            if rank is not None and rank <= limit:
                idle = records.idle_seconds(slots, number, record) if record else 0.0
                ranked.append((rank, -idle, number))
        return [number for _, _, number in sorted(ranked)]

    def _suits(self, held: HeldSlot, want: Want, limit: int) -> bool:
        try:
            record = held.look()
            if record is not None and record.provider:
                self._actor.provider(record.provider)
        except (SlotUnusable, ProviderUnavailableError):
            return False
        rank = self._rank(held.number, record, want)
        if rank is None or rank > limit:
            return False
        return record is None or record.state is not State.SHARED or not held.live_users(record)

    def _rank(self, number: int, record: Record | None, want: Want) -> int | None:
        """How much it costs to serve ``want`` from this slot, 0 to 4; None: it cannot."""
        may_create = number < self._actor.size
        if record is None:
            return 2 if may_create else None
        if record.state is State.READY and fits(record, want):
            return 0
        if record.state is State.DIRTY and fits(record, want):
            return 1
        if record.state is State.QUARANTINED or not may_create:
            return None
        return _EVICTS if record.state is State.READY else 3

    def _fill(self, claim: _Claim, undo: ExitStack) -> None:
        want, held = claim.want, claim.held
        try:
            start = held.fill(want, before_create=claim.build.begin if want.shared else None)
            if start is None:
                raise _Busy
            record = held.hand_out(want, share=claim.share, user=self._process.name)
        except ProvisionError as error:
            (claim.build.failed if want.shared else claim.build.failed_alone)(error)
            raise
        except SlotUnusable as error:
            raise _Busy from error
        finally:
            self.worked += held.worked
        if want.shared:
            self._memberships.count(record.cluster)
            held.close()
            self._keep(claim.index, held.number, record.cluster, start, undo)
            if start != "reused":
                claim.build.succeeded()
        else:
            self._keep(claim.index, held.number, record.cluster, start, undo, held)

    def _keep(
        self, index: int, number: int, cluster: str, start: str, undo: ExitStack, held: HeldSlot | None = None
    ) -> None:
        leave = partial(self._memberships.leave, self._actor, number, cluster)
        lease = Lease(
            name=cluster,
            directory=self._root.clusters / cluster,
            number=number,
            want=self._wants[index],
            start=start,
            give_back=leave if held is None else held.release,
            keep=partial(self._keep_for_person, number, cluster, held),
            check=partial(self._wants[index].provider.check, place_of(self._root, number, cluster)),
        )
        undo.callback(lease.release)
        self._leases[index] = lease

    def _keep_for_person(self, number: int, cluster: str, held: HeldSlot | None, why: str) -> bool:
        # One after the other: two who look at once would both find the other's slot left.
        turn = wait_for_lock(self._root.slots / _KEEPING, _KEEP_PATIENCE)
        if turn is None:
            return False
        try:
            return self._others_are_left(number) and self._kept(number, cluster, held, why)
        finally:
            turn.release()

    def _others_are_left(self, number: int) -> bool:
        slots = self._root.slots
        usable = set(range(self._actor.size)) - {number}
        for other in tuple(usable):
            record = records.peek(slots, other)
            if record is not None and (record.kept or record.state is State.QUARANTINED):
                usable.discard(other)
        return bool(usable)

    def _kept(self, number: int, cluster: str, held: HeldSlot | None, why: str) -> bool:
        if held is None:
            return self._memberships.keep(self._actor, number, cluster, why)
        held.keep(why)
        return True
