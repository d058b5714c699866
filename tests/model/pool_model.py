"""A model of the pool's protocol (docs/pool.md): what every process may do next, one file, lock or provider call a step.

A world is a tuple of plain tuples. A slot has a record (None: EMPTY) and a cluster; locks are not stored but follow from what
live processes hold, so that a death frees them at once and a stop does not, as the kernel does it. ``touch`` is what the
explorer knows and the processes do not: 0 never used, 1 used, 2 used as fresh, 3 kept for a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Record(NamedTuple):
    """A slot's record; ``run`` and ``key`` (fingerprint) of who made or leased it last."""

    state: str
    run: int
    key: str
    users: frozenset[tuple[int, int]] = frozenset()
    tries: int = 0
    used: bool = False
    dead: bool = False
    kept: bool = False


class Cluster(NamedTuple):
    """What a slot's backend really is: content half, clean, broken, ``by <process>`` or ``of run <run>``."""

    content: str
    touch: int = 0


class Process(NamedTuple):
    """One process: mode L(ive), S(topped) or D(ead); its place in the program, and the locks that it holds."""

    mode: str = "L"
    life: int = 0
    at: str = "idle"
    slot: int = -1
    build: bool = False
    proof: bool = False
    memo: Any = None


class Role(NamedTuple):
    """What a process is for: exclusive, fresh, shared, tidier, helper (the idle helper) or controller."""

    wants: str
    run: int = 9
    key: str = "z"


class World(NamedTuple):
    """Everything there is; ``budget``: kills, stops and breakages left, ``resets``: attempts really made per slot."""

    records: tuple[Record | None, ...]
    clusters: tuple[Cluster | None, ...]
    processes: tuple[Process, ...]
    budget: tuple[int, int, int]
    resets: tuple[int, ...]


class Step(NamedTuple):
    """One thing that can happen: who does what, the world after it, and what is wrong with the act itself."""

    text: str
    world: World
    fault: bool
    wrong: str | None


FORGOTTEN = {"at": "idle", "slot": -1, "build": False, "proof": False, "memo": None}


def put(row: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """The row with one element replaced."""
    return (*row[:index], value, *row[index + 1 :])


class Model:
    """The protocol with its limits, or with one deliberate ``mistake``.

    ``warm``: askers go home after one lease and no cluster has been idle for too long, so that what is idle and dead
    is left to the sweep.
    """

    def __init__(
        self,
        roles: tuple[Role, ...],
        *,
        slots: int = 1,
        kills: int = 1,
        stops: int = 1,
        breaks: int = 0,
        tries: int = 2,
        failures: bool = True,
        poison: bool = False,
        keeps: bool = False,
        warm: bool = False,
        mistake: str = "",
    ) -> None:
        self.roles = roles
        self.tries = tries
        self.failures = failures
        self.poison = poison
        self.keeps = keeps
        self.warm = warm
        self.mistake = mistake
        processes = tuple(Process() for _ in roles)
        self.start = World((None,) * slots, (None,) * slots, processes, (kills, stops, breaks), (0,) * slots)

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen next."""
        kills, stops, breaks = world.budget
        for index, process in enumerate(world.processes):
            turn = Turn(self, world, index)
            if process.mode == "D":
                named = any(record and (index, process.life) in record.users for record in world.records)
                yield turn.goes("is replaced", mode="L", life=process.life + named)
                continue
            if kills:
                yield turn.goes("KILLED", mode="D", **FORGOTTEN, budget=(kills - 1, stops, breaks), fault=True)
            if process.mode == "S":
                yield turn.goes("CONTINUED", mode="L")
                continue
            if stops:
                yield turn.goes("STOPPED", mode="S", budget=(kills, stops - 1, breaks), fault=True)
            yield from getattr(turn, "_at_" + process.at)()
        if breaks:
            for slot, cluster in enumerate(world.clusters):
                if cluster and cluster.content != "broken":
                    clusters = put(world.clusters, slot, cluster._replace(content="broken"))
                    broken = world._replace(clusters=clusters, budget=(kills, stops, breaks - 1))
                    yield Step(f"cluster {slot} BREAKS", broken, True, None)

    def alive(self, world: World, user: tuple[int, int]) -> bool:
        """Whether a user's process lock is held."""
        process = world.processes[user[0]]
        if self.mistake == "the controller decides who lives":
            run = self.roles[user[0]].run
            pairs = zip(self.roles, world.processes, strict=True)
            return any(role.wants == "controller" and role.run == run and each.mode != "D" for role, each in pairs)
        return process.mode != "D" and process.life == user[1] and process.proof

    def wrong(self, world: World) -> str | None:
        """The invariant that this world violates."""
        pairs = [(r.run, r.key) for r in world.records if r and r.state == "SHARED" and not r.dead]
        if len(pairs) != len(set(pairs)):
            return "two shared clusters for one run and fingerprint"
        living = [(index, each) for index, each in enumerate(world.processes) if each.mode != "D"]
        for slot, (record, cluster) in enumerate(zip(world.records, world.clusters, strict=True)):
            holders = [each for _, each in living if each.slot == slot]
            if len(holders) > 1:
                return "two holders of one slot"
            if cluster and record is None and not holders:
                return "a cluster without a record"
            if cluster and cluster.touch == 3:
                undone = any(each.at in ("reset", "destroy", "destroyed", "gone") for each in holders)
                if undone or record is None or not record.kept:
                    return "a kept cluster was touched"
            in_use = any(each.slot == slot and each.at == "using" for _, each in living)
            content = cluster.content if cluster else "missing"
            if record and record.state == "READY" and not in_use and content not in ("clean", "broken"):
                return f"READY, but the cluster is {content}"
        return next((why for index, each in living if (why := self._wrong_sharer(world, index, each))), None)

    def _wrong_sharer(self, world: World, index: int, process: Process) -> str | None:
        if process.at not in ("sharing", "leaving"):
            return None
        slot = process.slot if process.slot >= 0 else process.memo
        record, cluster, run = world.records[slot], world.clusters[slot], self.roles[index].run
        if record is None or record.state != "SHARED" or record.run != run:
            return "the cluster of a live user was taken away"
        if (index, process.life) not in record.users:
            return "a live user is missing from the record"
        fine = cluster is not None and cluster.content in ("clean", "broken", f"of run {run}")
        return None if fine else "the cluster of a live user was changed"


class Turn:
    """What one process may do in one world; one method per place in the program."""

    def __init__(self, model: Model, world: World, index: int) -> None:
        self.model = model
        self.world = world
        self.index = index
        self.me = world.processes[index]
        self.role = model.roles[index]
        self.bad = model.mistake
        self.name = (index, self.me.life)

    def goes(
        self, text: str, *, slot_of: int | None = None, budget: Any = None, fault: bool = False, wrong: str | None = None,
        resets: int | None = None, **change: Any,
    ) -> Step:  # fmt: skip
        """The step that changes this process, and the record and cluster of its slot when they are named."""
        world, slot = self.world, self.me.slot if slot_of is None else slot_of
        records = put(world.records, slot, change.pop("record")) if "record" in change else world.records
        clusters = put(world.clusters, slot, change.pop("cluster")) if "cluster" in change else world.clusters
        counts = world.resets if resets is None else put(world.resets, slot, resets)
        processes = put(world.processes, self.index, self.me._replace(**change))
        after = World(records, clusters, processes, budget or world.budget, counts)
        return Step(f"P{self.index} ({self.role.wants}) {text}", after, fault, wrong)

    def later(self, text: str, **change: Any) -> dict[str, Any]:
        """A change put off by one step; only mistakes need it."""
        return {"at": "later", "memo": (text, tuple(change.items()))}

    def _at_later(self) -> Iterator[Step]:
        text, change = self.me.memo
        yield self.goes(text, **{"memo": None, **dict(change)})

    @property
    def record(self) -> Record | None:
        """The record of the slot that is held."""
        return self.world.records[self.me.slot]

    @property
    def cluster(self) -> Cluster | None:
        """The cluster of the slot that is held."""
        return self.world.clusters[self.me.slot]

    @property
    def may_provide(self) -> bool:
        """Whether this process may end with a cluster in its hands: a sharer only with the build lock."""
        return self.role.wants in ("exclusive", "fresh") or self.me.build

    @property
    def sweeps(self) -> bool:
        """Whether this is a tidier that may delete what is idle for one reason only: it is dead."""
        return self.model.warm and self.role.wants == "tidier"

    @property
    def broken(self) -> bool:
        """What a health check of the slot's cluster would find."""
        return self.cluster is None or self.cluster.content == "broken"

    def locked(self, slot: int) -> bool:
        """Whether somebody holds the slot's lock."""
        steals = self.bad == "leases expire"
        return any(p.slot == slot and p.mode != "D" and not (steals and p.mode == "S") for p in self.world.processes)

    def ours(self, record: Record | None) -> bool:
        """Whether the record is of the cluster that this process's run shares."""
        if record is None or record.state != "SHARED" or record.key != self.role.key:
            return False
        joinable = not record.dead or self.bad == "a broken shared cluster is joined"
        return joinable and (record.run == self.role.run or self.bad == "any run joins")

    def fits(self, record: Record) -> bool:
        """Whether the cluster may serve once it is clean."""
        unused = not record.used or self.role.wants != "fresh" or self.bad == "fresh takes a used cluster"
        return record.key == self.role.key and unused

    def mine(self, state: str, *users: tuple[int, int], used: bool = False) -> Record:
        """A new record by this process."""
        return Record(state, self.role.run, self.role.key, frozenset(users), 0, used)

    # ---- asking

    def _at_idle(self) -> Iterator[Step]:
        wants = self.role.wants
        if wants == "controller":
            return
        if wants == "shared" and not self.me.proof and self.bad != "the process lock is taken late":
            yield self.goes("takes its process lock", proof=True)
            return
        for slot in self._worth_locking():
            if self.bad == "the record is read before the lock":
                yield self.goes(f"reads record {slot}", at="trusting", memo=(slot, self.world.records[slot]))
            elif not self.locked(slot):
                yield self.goes(f"locks slot {slot}", at="look", slot=slot)
        if wants == "shared":
            yield from self._election()

    def _worth_locking(self) -> Iterator[int]:
        records = self.world.records
        alike = False  # empty slots differ in nothing, so one of them stands for all (unless somebody is scanning)
        scanning = any(p.at == "scan" for p in self.world.processes)
        for slot, record in enumerate(records):
            empty = record is None and self.world.clusters[slot] is None and not self.locked(slot)
            if self.role.wants == "helper" and record is None:
                continue
            if not (empty and alike and not scanning):
                yield slot
            alike = alike or empty

    def _election(self) -> Iterator[Step]:
        for slot, record in enumerate(self.world.records):
            if self.bad == "joining without the slot's lock" and record and self.ours(record):
                joined = record._replace(users=record.users | {self.name})
                change = self.later("adds itself", at="sharing", slot_of=slot, memo=slot, record=joined)
                yield self.goes(f"reads record {slot}", **change)
        if self.me.build:
            yield self.goes("gives up the build lock", build=False)
            return
        pairs = zip(self.model.roles, self.world.processes, strict=True)
        rivals = [p for role, p in pairs if role[1:] == self.role[1:] and p.build and p.mode != "D"]
        if not rivals or self.bad == "no build lock":
            scan = {} if self.bad == "no scan under the build lock" else {"at": "scan", "memo": 0}
            yield self.goes("takes the build lock", build=True, **scan)

    def _at_trusting(self) -> Iterator[Step]:
        slot, record = self.me.memo
        if not self.locked(slot):
            yield self.goes(f"locks slot {slot}, trusts what it read", at="look", slot=slot, memo=("read", record))

    def _at_scan(self) -> Iterator[Step]:
        seen = self.me.memo
        if seen == len(self.world.records):
            yield self.goes("found nothing shared", at="idle", memo=None)
        elif self.ours(self.world.records[seen]):
            yield self.goes("found it shared; gives up the build lock", at="idle", memo=None, build=False)
        else:
            yield self.goes(f"scans record {seen}", memo=seen + 1)

    # ---- with a slot's lock

    def _at_look(self) -> Iterator[Step]:
        record = self.me.memo[1] if self.me.memo else self.record
        yield self.goes("unlocks", at="idle", slot=-1, memo=None)
        if record is None:
            if self.may_provide:
                yield from self._begin()
            return
        lived = any(self.model.alive(self.world, user) for user in record.users)
        if record.kept and record.state in ("DIRTY", "SHARED") and not lived and self.bad != "kept is cleaned as ever":
            yield self._writes("leaves it to a person", record._replace(state="QUARANTINED", users=frozenset()))
            return
        yield from getattr(self, "_on_" + record.state.lower())(record)

    def _begin(self) -> Iterator[Step]:
        intent = self.mine("DIRTY" if self.bad == "an unfinished creation is DIRTY" else "DOOMED")
        if self.bad == "the backend comes before the intent":
            change = self.later("writes the intent", at="made", record=intent)
            yield self.goes("starts making it", cluster=Cluster("half"), **change)
        else:
            yield self.goes("writes the intent", at="make", record=intent, memo=None)

    def _at_home(self) -> Iterator[Step]:
        yield from ()

    def _swept(self, record: Record) -> Iterator[Step]:
        if self.broken and not (record.state == "READY" and self.bad == "the sweep trusts READY"):
            yield self._writes("sweeps it, as it is dead", record._replace(state="DOOMED", users=frozenset()))

    def _on_ready(self, record: Record) -> Iterator[Step]:
        if self.model.warm and not self.may_provide:  # of these only the sweep looks at what is READY
            if self.sweeps:
                yield from self._swept(record)
            return
        checked = self.bad != "no health check"
        if checked and (self.cluster is None or self.cluster.content != "clean"):
            yield self._writes("finds it unhealthy", record._replace(state="DOOMED"))
        elif self.may_provide and self.fits(record):
            yield self._hands_out(record)
        if not self.model.poison:
            yield self._writes("evicts it", record._replace(state="DOOMED"))

    def _on_shared(self, record: Record) -> Iterator[Step]:
        if self.role.wants == "shared" and not self.me.build and self.ours(record):
            broken = self.cluster is not None and self.cluster.content == "broken"
            if broken and self.bad != "a broken shared cluster is joined":
                yield self._writes("finds it broken, marks it", record._replace(dead=True), keep=True)
            else:
                joined = record._replace(users=record.users | {self.name})
                wrong = "joined a broken cluster" if broken else None
                yield self.goes("joins", at="joined", record=joined, memo=None, wrong=wrong)
        if self.sweeps and self.bad == "the sweep ends what is dead and in use":
            yield from self._swept(record)
        careless = self.bad == "the helper resets what is shared" and self.role.wants == "helper"
        if careless or not any(self.model.alive(self.world, user) for user in record.users):
            yield self._writes("sees no live user", record._replace(state="DIRTY", users=frozenset(), dead=False))

    def _on_dirty(self, record: Record) -> Iterator[Step]:
        if self.sweeps:
            yield from self._swept(record)
            return
        left = record.tries < self.model.tries
        if left:
            uncounted = self.bad == "a reset is counted afterwards"
            counted = record if uncounted else record._replace(tries=record.tries + 1)
            yield self.goes("counts a reset", at="reset", record=counted, memo=None)
        if not left or not self.model.poison:
            yield self._writes("gives up on it", record._replace(state="DOOMED"))

    def _on_doomed(self, record: Record) -> Iterator[Step]:
        if record.tries < self.model.tries:
            yield self.goes("counts a delete", at="destroy", record=record._replace(tries=record.tries + 1), memo=None)
        else:
            yield self._writes("gives up deleting", record._replace(state="QUARANTINED"))

    def _on_quarantined(self, record: Record) -> Iterator[Step]:
        spared = record.kept and self.bad != "kept is tried once more"
        if self.role.wants == "tidier" and record.run != self.role.run and not spared:
            retried = Record("DOOMED", self.role.run, record.key, frozenset(), self.model.tries - 1, record.used)
            yield self.goes("tries once more for a later run", record=retried, memo=None)

    def _writes(self, text: str, record: Record, *, keep: bool = False) -> Step:
        tries = record.tries if keep else 0
        return self.goes(f"{text}: {record.state}", record=record._replace(tries=tries), memo=None)

    # ---- making, using, cleaning

    def _at_make(self) -> Iterator[Step]:
        yield self.goes("starts making it", at="made", cluster=Cluster("half"))

    def _at_made(self) -> Iterator[Step]:
        yield self.goes("has made it", at="done", cluster=Cluster("clean"))
        if self.model.failures:
            yield self.goes("failed to make it", at="look")

    def _at_done(self) -> Iterator[Step]:
        record = self.record
        assert record is not None, "it was made or reset under a record"
        ready = record._replace(state="READY", tries=0)
        if self.bad == "unlocking before the record is written":
            change = self.later("writes READY", at="idle", slot_of=self.me.slot, record=ready)
            yield self.goes("unlocks", slot=-1, **change)
            return
        yield self.goes("writes READY", at="look", record=ready, resets=0)
        if self.may_provide and self.fits(record):
            yield self._hands_out(record)

    def _hands_out(self, record: Record) -> Step:
        cluster = self.cluster
        # It may break by itself after the check, and nobody can know.
        fine = cluster is not None and (cluster.content == "clean" or (cluster.content == "broken" and self._checks))
        wrong = None if fine else f"handed out: {cluster.content if cluster else 'nothing'}"
        if cluster and (cluster.touch == 2 or (cluster.touch and self.role.wants == "fresh")):
            wrong = "a used cluster was handed out as fresh, or a fresh one handed out again"
        if self.role.wants == "shared":
            shared = self.mine("SHARED", self.name, used=True)
            if self.bad == "the build lock is freed early":
                change = self.later("writes SHARED", at="joined", record=shared)
                return self.goes("gives up the build lock", build=False, resets=0, wrong=wrong, **change)
            return self.goes("writes SHARED", at="joined", record=shared, resets=0, memo=None, wrong=wrong)
        fresh = self.role.wants == "fresh" and self.bad != "a fresh cluster is left DIRTY"
        leased = self.mine("DOOMED" if fresh else "DIRTY", used=True)
        leased = record if self.bad == "the record stays READY in use" else leased
        return self.goes(f"takes it: {leased.state}", at="using", record=leased, resets=0, memo=None, wrong=wrong)

    @property
    def _checks(self) -> bool:
        return self.bad != "no health check"

    def _touched(self, cluster: Cluster, who: str) -> Cluster:
        return Cluster(who, max(cluster.touch, 2 if self.role.wants == "fresh" else 1))

    def _keeping(self) -> Iterator[Step]:
        record, cluster = self.record, self.cluster
        if self.model.keeps and record and cluster and not record.kept:
            state = "DIRTY" if record.state == "DOOMED" else record.state
            kept = record._replace(state=state, kept=True)
            yield self.goes("keeps it for a person", record=kept, cluster=cluster._replace(touch=3))

    def _at_using(self) -> Iterator[Step]:
        if self.cluster and self.cluster.content == "clean":
            yield self.goes("uses it", cluster=self._touched(self.cluster, f"by {self.index}"))
        yield from self._keeping()
        yield self.goes("releases it", at="home" if self.model.warm else "idle", slot=-1)

    def _at_joined(self) -> Iterator[Step]:
        slot = self.me.slot
        shares: dict[str, Any] = {"at": "sharing", "memo": slot}
        if not self.me.proof:
            shares = self.later("takes its process lock", at="sharing", proof=True, memo=slot)
        yield self.goes("unlocks", slot=-1, build=False, **shares)

    def _at_sharing(self) -> Iterator[Step]:
        slot = self.me.memo
        cluster, record = self.world.clusters[slot], self.world.records[slot]
        if cluster and cluster.content == "clean":
            yield self.goes("uses it", slot_of=slot, cluster=self._touched(cluster, f"of run {self.role.run}"))
        if self.bad == "leaving without the slot's lock" and record:
            left = record._replace(users=record.users - {self.name})
            yield self.goes(f"reads record {slot}", **self.later("leaves", at="idle", slot_of=slot, record=left))
        elif not self.locked(slot):
            yield self.goes(f"locks slot {slot} to leave", at="leaving", slot=slot, memo=None)

    def _at_leaving(self) -> Iterator[Step]:
        assert self.record is not None, "the invariants hold"
        yield from self._keeping()
        left = self.record._replace(users=self.record.users - {self.name})
        if self.model.warm:
            yield self.goes("leaves and unlocks", slot_of=self.me.slot, at="home", slot=-1, record=left)
        else:
            yield self.goes("leaves", at="look", record=left)

    def _at_reset(self) -> Iterator[Step]:
        cluster, made = self.cluster, min(self.world.resets[self.me.slot] + 1, self.model.tries + 2)
        wrong = f"reset number {made} of {self.model.tries}" if made > self.model.tries else None
        if self.model.poison:
            yield self.goes("dies of the reset", mode="D", **FORGOTTEN, resets=made, wrong=wrong, slot_of=self.me.slot)
            return
        broken = cluster is None or cluster.content == "broken"
        if cluster is not None and not broken:
            # A creation that was never finished cannot be reset into a cluster.
            clean = cluster if cluster.content == "half" else cluster._replace(content="clean")
            yield self.goes("has reset it", at="done", cluster=clean, resets=made, wrong=wrong)
        if self.model.failures or broken:
            yield self.goes("failed to reset it", at="look", resets=made, wrong=wrong)

    def _at_destroy(self) -> Iterator[Step]:
        if self.bad == "the record goes before the backend":
            change = self.later("destroys it", at="look", cluster=None)
            yield self.goes("removes the record", record=None, resets=0, **change)
            return
        half = self.cluster and self.cluster._replace(content="half")
        yield self.goes("has half destroyed it", at="destroyed", cluster=half)
        if self.model.failures:
            yield self.goes("failed to delete it", at="look")

    def _at_destroyed(self) -> Iterator[Step]:
        yield self.goes("has destroyed it", at="gone", cluster=None)

    def _at_gone(self) -> Iterator[Step]:
        yield self.goes("removes the record", at="look", record=None, resets=0)
