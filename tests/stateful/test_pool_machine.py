"""The real slot store under random stories: real locks, forked processes, the model's rules and invariants."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from pytest_kina.pool import records
from pytest_kina.pool.records import State
from pytest_kina.testing import backend_state
from tests.stateful.clients import Client
from tests.support.pool_kit import Kit, run_id
from tests.support.universal import temporary_files

SIZE = 2
_ISOLATIONS = st.sampled_from(["exclusive", "namespace", "fresh"])
_VERSIONS = st.sampled_from(["1.36", "1.35"])
_CRASHES = st.sampled_from(
    [
        f"{step}.{moment}"
        for step in (
            "record.DOOMED",
            "record.DIRTY",
            "record.SHARED",
            "create",
            "reset",
            "delete",
            "unlock.slot",
            "file.move",
        )
        for moment in ("before", "after")
    ]
)


@dataclass(frozen=True)
class Held:
    """A lease as the machine knows it: who has it, of what, and whose traces its cluster must show."""

    client: int
    cluster: str
    slot: int
    isolation: str
    user: str


class PoolMachine(RuleBasedStateMachine):
    """Clients of two runs on one pool; every rule is one thing that a client, the system or a tidier may do."""

    clients = Bundle("clients")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="kina-machine-"))
        self.orders = self.place / "fake.json"
        self.orders.write_text("{}", encoding="utf-8")
        os.environ["KINA_FAKE"] = str(self.orders)
        self.root = self.place / "root"
        self.observer = Kit(self.root, size=SIZE)
        self.runs = [run_id(), run_id()]
        self.living: dict[int, Client] = {}
        self.held: dict[tuple[int, str], list[Held]] = {}
        self.ever_fresh: set[str] = set()
        self.numbers = 0

    # ---- rules

    @initialize(target=clients)
    def three_are_there(self) -> Any:
        """Two processes of one run and one of another are there from the beginning."""
        return multiple(self.comes(0), self.comes(0), self.comes(1))

    @rule(target=clients, run=st.integers(0, 1))
    def comes(self, run: int) -> int:
        """A process of a run begins."""
        self.numbers += 1
        self.living[self.numbers] = Client(self.root, self.runs[run], SIZE)
        return self.numbers

    @rule(target=leases, client=clients, isolation=_ISOLATIONS, version=_VERSIONS)
    def asks(self, client: int, isolation: str, version: str) -> Any:
        """A client asks once; it gets a clean cluster, one that its run shares, or nothing."""
        process = self._free(client)
        if process is None:
            return multiple()
        shared = isolation == "namespace"
        user = f"run {process.run}" if shared else f"client {client}"
        answer = process.ask("lease", isolation=isolation, version=version, user=user)
        if "error" in answer:
            expected = ("PoolTimeoutError", "ProvisionError")
            assert answer["error"].startswith(expected), answer
            return multiple()
        got = Held(client, answer["cluster"], answer["slot"], isolation, f"used by {user}")
        allowed = {"clean", got.user} if shared else {"clean"}
        assert answer["found"] in allowed, f"{got} was handed out {answer['found']}"
        assert got.cluster not in self.ever_fresh, f"{got} was fresh for somebody before"
        if isolation == "fresh":
            self.ever_fresh.add(got.cluster)
        others = [each for mine in self.held.values() for each in mine if each.slot == got.slot]
        assert all(shared and each.isolation == "namespace" and each.user == got.user for each in others), others
        self.held.setdefault((client, got.cluster), []).append(got)
        return got

    @rule(lease=consumes(leases))
    def gives_back(self, lease: Held) -> None:
        """A client releases a lease."""
        process = self._free(lease.client)
        mine = self.held.get((lease.client, lease.cluster), [])
        if process is None or lease not in mine:
            return
        process.ask("release", cluster=lease.cluster)
        mine.remove(lease)
        self._forget_empty()

    @rule(client=consumes(clients))
    def is_killed(self, client: int) -> None:
        """A client dies in what it is doing."""
        self._bury(client)

    @rule(client=clients)
    def is_stopped(self, client: int) -> None:
        """A client is stopped; what it holds stays its own."""
        if (process := self.living.get(client)) is not None and not process.stopped:
            process.signal(signal.SIGSTOP)

    @rule(client=clients)
    def goes_on(self, client: int) -> None:
        """A stopped client is continued, and finds its clusters as it left them."""
        if (process := self.living.get(client)) is None or not process.stopped:
            return
        process.signal(signal.SIGCONT)
        for number, cluster in [key for key in self.held if key[0] == client]:
            lease = self.held[number, cluster][0]
            assert process.ask("look", cluster=cluster)["found"] == lease.user

    @rule(run=st.integers(0, 1), isolation=_ISOLATIONS, point=_CRASHES)
    def dies_at_a_point(self, run: int, isolation: str, point: str) -> None:
        """A process comes, asks, uses, releases, tidies, and dies somewhere on the way (or comes to its end)."""
        os.environ["KINA_CRASH"] = f"{point}:exit"
        try:
            pid = os.fork()
            if not pid:
                _short_life(self.root, self.runs[run], isolation)
        finally:
            del os.environ["KINA_CRASH"]
        os.waitpid(pid, 0)

    @rule(slot=st.integers(0, SIZE - 1))
    def breaks(self, slot: int) -> None:
        """A cluster that nobody uses loses its backend by itself."""
        record = self.observer.record(slot)
        if record and not any(each.slot == slot for mine in self.held.values() for each in mine):
            (self.root / "clusters" / record.cluster / "backend").unlink(missing_ok=True)

    @rule(slot=st.integers(0, SIZE - 1), content=st.sampled_from(["", "{", '{"schema": 1}', "null"]))
    def is_torn(self, slot: int, content: str) -> None:
        """A power failure leaves a torn record in a slot that nobody holds."""
        if records.record_path(self.observer.root.slots, slot).exists() and not self._in_use(slot):
            records.record_path(self.observer.root.slots, slot).write_text(content, encoding="utf-8")

    @rule(action=st.sampled_from(["create", "reset", "delete"]), times=st.integers(0, 2))
    def fails(self, action: str, times: int) -> None:
        """The provider fails from now on for some calls, or (0) not any more."""
        calls = self.orders.with_name("fake.json.calls")
        calls.unlink(missing_ok=True)
        failures = {action: {"text": "injected", "times": times}} if times else {}
        self.orders.write_text(json.dumps({"failures": failures}), encoding="utf-8")

    @rule()
    def somebody_tidies(self) -> None:
        """A process of another run tidies the pool."""
        self.observer.pool.tidy()

    @rule(client=clients)
    def the_helper_looks(self, client: int) -> None:
        """The idle helper resets or evicts what is due."""
        if (process := self._free(client)) is not None:
            process.ask("advise")

    # ---- invariants

    @invariant()
    def holders_have_what_they_hold(self) -> None:
        """An exclusive or fresh lease is a held slot with its record; a shared one a SHARED record with a live user."""
        for mine in self.held.values():
            for lease in mine:
                status = self.observer.status(lease.slot)
                record = self.observer.record(lease.slot)
                assert record is not None, lease
                assert record.cluster == lease.cluster, (lease, record)
                expected = {"exclusive": State.DIRTY, "fresh": State.DOOMED, "namespace": State.SHARED}
                assert record.state is expected[lease.isolation], (lease, record)
                pids = {user.split(".")[1] for user in status.users}
                assert status.held if lease.isolation != "namespace" else str(self.living[lease.client].pid) in pids
                assert backend_state(self.root / "clusters" / lease.cluster) == lease.user, lease

    @invariant()
    def ready_is_clean_and_nothing_is_nameless(self) -> None:
        """READY means unused; every cluster belongs to its slot's record, or the slot's holder is at work."""
        for slot in range(SIZE):
            status, record = self.observer.status(slot), self.observer.record(slot)
            if record is not None and record.state is State.READY and not status.held:
                assert backend_state(self.root / "clusters" / record.cluster) in ("clean", None)
        assert {int(name.split("-")[2]) for name in self.observer.clusters()} <= set(range(SIZE))

    @invariant()
    def one_shared_cluster_per_run_and_spec(self) -> None:
        """A run never has two shared clusters of a kind that could be joined."""
        found = [record for slot in range(SIZE) if (record := self.observer.record(slot)) is not None]
        shared = [(each.run, each.fingerprint) for each in found if each.state is State.SHARED and not each.broken]
        assert len(shared) == len(set(shared)), shared

    def teardown(self) -> None:
        """When everybody has died, a new run repairs everything."""
        try:
            self._all_die_and_are_repaired()
        finally:
            for client in list(self.living):
                self._bury(client)
            self.observer.pool.close()
            del os.environ["KINA_FAKE"]
            shutil.rmtree(self.place)

    def _all_die_and_are_repaired(self) -> None:
        self.orders.write_text("{}", encoding="utf-8")
        for client in list(self.living):
            self._bury(client)
        last = Kit(self.root, size=SIZE, lease_timeout=2.0)
        last.pool.tidy()
        for slot in range(SIZE):
            record = last.record(slot)
            if record is not None and record.state is State.QUARANTINED:
                last.put(slot, replace(record, state=State.DOOMED, attempts=0))
        last.pool.tidy()
        for _ in range(SIZE):
            lease = last.lease()
            assert backend_state(lease.directory) == "clean"
        last.pool.retire()
        last.pool.close()
        assert last.clusters() == []
        assert (
            list(last.root.processes.iterdir()) == [self.observer.pool._process.path] * self.observer.pool._process.held
        )
        assert temporary_files(self.root) == []

    def _free(self, client: int) -> Client | None:
        process = self.living.get(client)
        return None if process is None or process.stopped else process

    def _in_use(self, slot: int) -> bool:
        return self.observer.status(slot).held or any(each.slot == slot for mine in self.held.values() for each in mine)

    def _bury(self, client: int) -> None:
        process = self.living.pop(client, None)
        if process is not None:
            process.kill()
            self.held = {key: mine for key, mine in self.held.items() if key[0] != client}

    def _forget_empty(self) -> None:
        self.held = {key: mine for key, mine in self.held.items() if mine}


def _short_life(root: Path, run: str, isolation: str) -> None:
    try:
        kit = Kit(root, run=run, size=SIZE, lease_timeout=0.0)
        kit.lease(isolation).release()
        kit.pool.tidy()
        kit.pool.close()
    finally:
        os._exit(0)


def _explore(examples: int, steps: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=quiet, database=None
    )
    run_state_machine_as_test(PoolMachine, settings=chosen)  # type: ignore[no-untyped-call]


def test_random_stories_keep_the_promises() -> None:
    """Whatever clients, deaths, stops, failures and tidiers do, in any order, every invariant holds."""
    _explore(examples=40, steps=25)


@pytest.mark.long
def test_many_random_stories_keep_the_promises() -> None:
    """The same with many more and longer stories, as it runs at night."""
    _explore(examples=1000, steps=60)
