"""Leasing: what is handed out, what the record says meanwhile, and what happens when it cannot be."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_kina.errors import NotReadyError, PoolTimeoutError, ProvisionError, StateError
from pytest_kina.pool import Lease, asking, builds, default_size, pool, records, waiting_hint
from pytest_kina.pool.builds import Build
from pytest_kina.pool.locks import ProcessLock, is_held, try_lock
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.providers import CannotReset, Place
from pytest_kina.spec import ClusterDescription, ClusterSpec
from pytest_kina.testing import CALLS, FakeProvider, backend_state, read_calls, use_backend
from tests.support.pool_kit import Kit, want

Order = Callable[..., Path]
Make = Callable[..., Kit]


def actions(path: Path) -> list[str]:
    """What the provider was asked to do, without the looks at health and the preparation."""
    return [call["action"] for call in read_calls(path) if call["action"] not in ("check", "adopt", "prepare")]


def test_an_exclusive_lease_is_a_held_lock_and_a_dirty_record(kit: Kit) -> None:
    """While it is leased the slot is held and DIRTY; releasing only unlocks."""
    lease = kit.lease()
    during = kit.status(0)
    lease.release()
    after = kit.status(0)
    assert (during.state, during.held) == ("DIRTY", True)
    assert (after.state, after.held) == ("DIRTY", False)
    assert during.cluster == after.cluster == lease.name
    assert during.note.test == "tests/test_it.py::test_it"
    assert actions(kit.root.path / CALLS) == ["create"]


def test_the_cluster_is_described_where_it_lives(kit: Kit) -> None:
    """Its directory is private and holds a description that any process can act on."""
    lease = kit.lease(version="1.35")
    assert lease.directory == kit.root.clusters / lease.name
    assert lease.directory.stat().st_mode & 0o777 == 0o700
    found = ClusterDescription.from_json(json.loads((lease.directory / "cluster.json").read_text(encoding="utf-8")))
    assert (found.name, found.kubernetes, found.fingerprint) == (lease.name, "v1.35.4", lease.want.fingerprint)
    assert lease.name.startswith(f"kina-{kit.root.pool_id}-0-")


def test_a_used_cluster_comes_back_reset(kit: Kit) -> None:
    """The next lease of the same spec gets the same cluster, clean, and is told that it is a reused one."""
    first = kit.lease()
    use_backend(first.directory, "a test")
    first.release()
    second = kit.lease()
    assert (second.name, second.start) == (first.name, "reused")
    assert (first.start, backend_state(second.directory)) == ("fresh", "clean")
    assert kit.record(0).uses == 2  # type: ignore[union-attr]


def test_another_spec_takes_an_empty_slot_before_a_used_one(kit: Kit) -> None:
    """A cluster of another spec stays as long as there is room."""
    kit.lease(version="1.36").release()
    assert kit.lease(version="1.35").number == 1
    assert len(kit.clusters()) == 2


def test_another_spec_takes_the_place_of_an_idle_cluster(make_kit: Make) -> None:
    """Without room, an idle cluster of another spec is deleted."""
    kit = make_kit(size=1)
    old = kit.lease(version="1.36")
    old.release()
    new = kit.lease(version="1.35")
    assert kit.clusters() == [new.name]
    assert actions(kit.root.path / CALLS) == ["create", "delete", "create"]


def test_an_unhealthy_cluster_is_replaced(kit: Kit) -> None:
    """A clean cluster that has died meanwhile is deleted, and another one made in its place."""
    lease = kit.lease()
    lease.release()
    (lease.directory / "backend").unlink()
    again = kit.lease()
    assert again.name != lease.name
    assert kit.clusters() == [again.name]


def test_a_fresh_lease_is_never_given_a_used_cluster(kit: Kit) -> None:
    """Even a clean one that was used before is not taken; what is handed out is DOOMED meanwhile and deleted after."""
    kit.lease().release()
    fresh = kit.lease("fresh")
    assert (fresh.start, fresh.number, kit.status(1).state) == ("fresh", 1, "DOOMED")
    fresh.release()
    kit.pool.tidy()
    assert kit.states() == ["DIRTY", "EMPTY"]


@pytest.mark.parametrize("old", ["1.34", "1.35"])
def test_the_cluster_that_is_joined_makes_no_room_for_the_other_one(kit: Kit, old: str) -> None:
    """Of two wants one is met by what the run shared longest ago, so the other one takes the place of something else."""
    other = "1.35" if old == "1.34" else "1.34"
    for version in (old, "1.36"):
        kit.lease("namespace", version=version).release()
    assert kit.states() == ["SHARED", "SHARED"]
    joined, new = kit.pool.lease([want("namespace", version=old), want("namespace", version=other)], note="")
    assert (joined.number, joined.start) == (0, "reused")
    assert (new.number, new.start) == (1, "fresh")


def test_several_clusters_come_together(kit: Kit) -> None:
    """Two wants get two clusters in the order that they were asked for, even for equal specs that are shared."""
    shared, exclusive = kit.pool.lease([want("namespace"), want("exclusive")], note="")
    assert (shared.want.isolation, exclusive.want.isolation) == ("namespace", "exclusive")
    for lease in (shared, exclusive):
        lease.release()
    east, west = kit.pool.lease([want("namespace"), want("namespace")], note="")
    assert east.name != west.name


def test_all_or_nothing(make_kit: Make) -> None:
    """Who cannot have all keeps nothing: no lock, no membership."""
    holder, asker = make_kit(), make_kit()
    kept = holder.lease(version="1.34")
    with pytest.raises(PoolTimeoutError):
        asker.pool.lease([want("namespace"), want("exclusive")], note="both")
    assert [each.held for each in asker.pool.status()] == [True, False]
    assert all(not each.users for each in asker.pool.status())
    kept.release()
    assert len(asker.pool.lease([want("namespace"), want("exclusive")], note="both")) == 2


def test_a_membership_is_no_more_kept_than_a_lock(make_kit: Make) -> None:
    """Who joined a shared cluster but cannot have the other one leaves it again while waiting."""
    run = make_kit()
    asker, stranger = make_kit(run=run.run), make_kit()
    shared = run.lease("namespace")
    stranger.lease()
    with pytest.raises(PoolTimeoutError):
        asker.pool.lease([want("namespace"), want("exclusive")], note="both")
    assert len(run.status(shared.number).users) == 1


def test_nobody_holds_a_slot_while_waiting_to_join(make_kit: Make) -> None:
    """In whatever order the wants are given, shared clusters are joined before any slot is locked."""
    run = make_kit()
    asker = make_kit(run=run.run)
    shared = run.lease("namespace", version="1.36")
    busy = HeldSlot.take(run.pool._actor, shared.number)
    assert busy is not None
    wants = [want("exclusive", version="1.34"), want("namespace", version="1.36")]
    leases: list[Lease] = []
    asking = threading.Thread(target=lambda: leases.extend(asker.pool.lease(wants, note="both")))
    asking.start()
    looks = [run.status(1).held for _ in range(100)]
    busy.close()
    asking.join()
    assert not any(looks)
    assert [lease.number for lease in leases] == [1, shared.number]


def test_a_clean_cluster_of_others_is_the_last_to_go(make_kit: Make) -> None:
    """A dirty one of another spec goes first, and of several clean ones the one that has been idle longest."""
    kit = make_kit(size=3)
    for number, lease in enumerate(kit.pool.lease([want(version="1.34")] * 3, note="")):
        lease.release()
        record = kit.record(number)
        assert record is not None
        state = State.DIRTY if number == 1 else State.READY
        kit.put(number, replace(record, state=state, idle_since=time.time() - 10 * (number + 1)))
    taken = [kit.lease(version=version).number for version in ("1.35", "1.36", "1.36.1")]
    assert taken == [1, 2, 0]


def test_a_full_pool_times_out_and_says_who_holds_what(make_kit: Make) -> None:
    """The error lists every slot: state, held or free, who, since when and for which test, and what to do."""
    holder, asker = make_kit(size=2), make_kit(size=2)
    held = [holder.lease(), holder.lease("fresh")]
    with pytest.raises(PoolTimeoutError) as caught:
        asker.lease()
    text = str(caught.value)
    assert "no cluster became free within 0.2 s" in text
    for lease, state in zip(held, ("DIRTY", "DOOMED"), strict=True):
        assert f"slot {lease.number}: {state}, held; {lease.name}; using since" in text
    assert f"by process {os.getpid()} (main) for tests/test_it.py::test_it" in text
    assert "Next step: end what holds them, raise --kina-pool-size" in text


def test_asking_for_more_than_the_pool_has_fails_at_once(make_kit: Make) -> None:
    """A process that would wait for itself is told so without waiting for the time-out."""
    kit = make_kit(size=2, lease_timeout=3600.0)
    with pytest.raises(PoolTimeoutError, match="holds 0 clusters and asks for 3 more, but the pool has 2 usable slots"):
        kit.pool.lease([want(), want(), want()], note="")
    kit.lease()
    kit.lease("namespace")
    assert kit.lease("namespace").number == 1
    with pytest.raises(PoolTimeoutError, match="holds 2 clusters and asks for 1 more"):
        kit.lease()


def test_a_failed_creation_leaves_nothing_and_shows_the_logs(kit: Kit, order: Order) -> None:
    """The error names the cluster, the cause, that nothing is left, and the provider's last log lines."""
    order(failures={"create": "the API server said no"})
    with pytest.raises(ProvisionError) as caught:
        kit.lease()
    assert "could not be made: the API server said no\nnothing is left of it" in str(caught.value)
    assert "--- last lines of fake ---\ncreate" in str(caught.value)
    assert caught.value.details["cluster"].startswith("kina-")
    assert (kit.states(), kit.clusters()) == (["EMPTY", "EMPTY"], [])
    assert not any(each.held for each in kit.pool.status())


class Explains(FakeProvider):
    """Its errors show the log of the component that they name, as those of the embedded provider do."""

    def create(self, *_: object, **__: object) -> None:
        """Fail, and say what the log of ``first`` says."""
        raise NotReadyError("first failed; its log: alpha", rung="any", component="first")

    def logs(self, *_: object) -> Mapping[str, str]:
        """Two logs."""
        return {"first": "alpha", "second": "beta"}


def test_a_log_that_the_error_has_is_not_shown_again(kit: Kit) -> None:
    """A failed creation shows each log once, and is not chained to the error whose text it repeats."""
    with pytest.raises(NotReadyError) as caught:
        kit.lease(provider_name=f"{__name__}:{Explains.__name__}")
    assert str(caught.value).count("alpha") == 1
    assert "--- last lines of second ---\nbeta" in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("isolation", ["namespace", "exclusive"])
def test_a_failed_creation_ends_the_tries_of_its_run(make_kit: Make, order: Order, isolation: str) -> None:
    """Every process of the run then fails at once with the same cause; other specs and other runs still try."""
    calls = order(failures={"create": "no disk"})
    kit = make_kit()
    colleague = make_kit(run=kit.run)
    with pytest.raises(ProvisionError, match="could not be made"):
        kit.lease(isolation)
    for each in (kit, colleague):
        with pytest.raises(ProvisionError, match=r"not tried again.*could not be made: no disk\n(.*\n)+Next step: "):
            each.lease(isolation)
    assert actions(calls).count("create") == 1
    for again in (lambda: colleague.lease(isolation, version="1.35"), lambda: make_kit().lease(isolation)):
        with pytest.raises(ProvisionError, match="could not be made"):
            again()


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
def test_a_new_cluster_that_nobody_can_be_told_of_goes(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """The disk is full when it is to be handed out: it is deleted now, not when somebody sweeps."""
    write = records.write

    def refuse(slots: Path, number: int, record: Record) -> None:
        if record.note.doing == "using":
            raise StateError("the disk is full", next_step="make room")
        write(slots, number, record)

    monkeypatch.setattr(records, "write", refuse)
    with pytest.raises(StateError, match="the disk is full"):
        kit.lease(isolation)
    assert (kit.clusters(), kit.states()) == ([], ["EMPTY", "EMPTY"])


def test_a_failed_creation_is_seen_by_who_waits_for_it(make_kit: Make, order: Order) -> None:
    """A process that waits while another one builds the shared cluster fails with it, instead of building again."""
    calls = order(failures={"create": "no disk"})
    kit = make_kit(lease_timeout=30.0)
    colleague = make_kit(run=kit.run, lease_timeout=30.0)
    build = Build(kit.root.builds, f"{kit.run}.{want('namespace').fingerprint}")
    lock = build.elect()
    assert lock is not None
    raised: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(ProvisionError) as caught:
            colleague.lease("namespace")
        raised.append(caught.value)

    waiter = threading.Thread(target=ask)
    waiter.start()
    while not kit.pool.somebody_waits():
        time.sleep(0.001)
    build.failed(NotReadyError("etcd is slow", next_step="use a faster disk"))
    build.give_up(lock)
    waiter.join()
    assert type(raised[0]) is NotReadyError
    assert "etcd is slow\nNext step: use a faster disk" in str(raised[0])
    assert actions(calls) == []


def test_one_death_is_no_verdict_on_a_spec_but_two_are(make_kit: Make, order: Order) -> None:
    """A process that is killed while it creates is counted; its run tries once more, and then says what happened."""
    calls = order()
    kit = make_kit()
    build = Build(kit.root.builds, f"{kit.run}.{want('namespace').fingerprint}")
    build.begin()
    build.begin()
    with pytest.raises(ProvisionError, match="2 processes of this run died while they tried"):
        kit.lease("namespace")
    assert actions(calls) == []
    build.succeeded()
    build.begin()
    assert kit.lease("namespace").start == "fresh"
    assert not build.count_path.exists()


def test_a_reset_that_would_be_in_vain_is_not_tried_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that knows this beforehand is asked once, the cluster is deleted, and the asker gets a new one."""
    asked: list[str] = []

    def refuse(_provider: FakeProvider, _spec: ClusterSpec, place: Place, *_: object, **__: object) -> None:
        asked.append(place.name)
        raise CannotReset("its origin is lost", cluster=place.name)

    monkeypatch.setattr(FakeProvider, "reset", refuse)
    first = kit.lease()
    first.release()
    second = kit.lease()
    assert (asked, second.start) == ([first.name], "fresh")
    assert kit.clusters() == [second.name]


def test_a_failing_reset_is_tried_twice_then_the_cluster_is_replaced(kit: Kit, order: Order) -> None:
    """A cluster that cannot be reset is deleted, and the asker gets a new one."""
    calls = order(failures={"reset": "stuck"})
    first = kit.lease()
    first.release()
    second = kit.lease()
    assert (second.start, second.name == first.name) == ("fresh", False)
    assert actions(calls) == ["create", "reset", "reset", "delete", "create"]


def test_a_failing_delete_ends_in_quarantine(make_kit: Make, order: Order) -> None:
    """After two tries the slot is quarantined with the error; the pool goes on with the others; a later run tries once more."""
    calls = order(failures={"delete": "busy"})
    kit = make_kit()
    kit.lease("fresh").release()
    kit.pool.tidy()
    assert kit.states() == ["QUARANTINED", "EMPTY"]
    assert "busy" in kit.status(0).last_error
    kit.pool.tidy()
    assert actions(calls).count("delete") == 2
    make_kit().pool.tidy()
    assert actions(calls).count("delete") == 3
    assert kit.lease().number == 1
    with pytest.raises(PoolTimeoutError, match="the pool has 1 usable slots"):
        kit.lease()
    order()
    make_kit().pool.tidy()
    assert kit.states() == ["EMPTY", "DIRTY"]


def test_the_rest_of_a_failed_creation_is_deleted_twice_at_most(make_kit: Make, order: Order) -> None:
    """Once by who made it, once by who tidies; then it is quarantined, with what happened first."""
    calls = order(failures={"create": "no disk", "delete": "busy"})
    kit = make_kit()
    with pytest.raises(ProvisionError, match="will be deleted later"):
        kit.lease()
    assert (kit.states()[0], actions(calls).count("delete")) == ("DOOMED", 1)
    kit.pool.tidy()
    assert (kit.states()[0], actions(calls).count("delete")) == ("QUARANTINED", 2)
    order()
    make_kit().pool.tidy()
    assert kit.states() == ["EMPTY", "EMPTY"]


def test_a_cluster_that_cannot_go_ends_the_wait_for_its_slot(make_kit: Make, order: Order) -> None:
    """Who wants another kind finds that the only slot is quarantined, and is told so at once."""
    kit = make_kit(size=1, lease_timeout=30.0)
    kit.lease().release()
    order(failures={"delete": "busy"})
    with pytest.raises(PoolTimeoutError, match=r"0 usable slots(?s:.*)slot 0: QUARANTINED, free; .*busy"):
        kit.lease(version="1.34")
    order()


def test_a_slot_above_the_size_is_used_but_never_filled(make_kit: Make) -> None:
    """A run with a smaller pool uses the clusters that are there, and makes none beyond its size."""
    big, small = make_kit(size=3), make_kit(size=1)
    leases = big.pool.lease([want(), want(), want()], note="")
    for lease in leases:
        lease.release()
    third = [small.lease().number for _ in range(3)]
    assert sorted(third) == [0, 1, 2]
    with pytest.raises(PoolTimeoutError):
        small.lease(version="1.35")


def test_releasing_twice_is_releasing_once(make_kit: Make) -> None:
    """The second release does not take the slot from its next holder."""
    kit, other = make_kit(size=1), make_kit(size=1)
    lease = kit.lease()
    lease.release()
    taken = other.lease()
    lease.release()
    assert other.status(0).held
    assert lease.released
    assert not taken.released


def test_a_lease_keeps_its_lock_referenced(kit: Kit) -> None:
    """A collection of garbage does not unlock what somebody holds."""
    lease = kit.lease()
    gc.collect()
    assert kit.status(0).held
    lease.release()


def test_closing_gives_everything_back(kit: Kit) -> None:
    """After close nothing is held, nobody is named, and no process lock is left."""
    kit.lease()
    kit.lease("namespace")
    kit.pool.close()
    assert [(each.held, each.users) for each in kit.pool.status()] == [(False, ()), (False, ())]
    assert list(kit.root.processes.iterdir()) == []


FORK = """
import os, sys
from pathlib import Path
from pytest_kina.errors import StateError
from tests.support.pool_kit import Kit

kit = Kit(Path(sys.argv[1]))
lease = kit.lease()
child = os.fork()
if child == 0:
    lease.release()
    try:
        kit.lease()
    except StateError as error:
        print(error.message, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("held" if kit.status(0).held else "free")
"""


def test_a_fork_may_neither_lease_nor_release(tmp_path: Path) -> None:
    """A forked child gets a clear error when it asks, and cannot give away its parent's lease."""
    argv = [sys.executable, "-c", FORK, str(tmp_path / "root")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    said, parent = done.stdout.splitlines()
    assert "is a fork of process" in said
    assert parent == "held"


def test_waiting_is_recorded_and_creation_is_not_part_of_it(kit: Kit, order: Order) -> None:
    """The events of a lease are its phases and a wait; the time of creating is not counted as waiting."""
    order(delays={"create": 0.3})
    lease = kit.lease(version="1.35")
    events = kit.recorder.drain()
    assert [event.phase for event in events] == ["create", "startup", "kubectl_ready", "lease_wait"]
    assert {(event.cluster, event.provider, event.kubernetes, event.start) for event in events} == {
        (lease.name, "fake", "v1.35.4", "fresh")
    }
    assert events[0].seconds >= 0.3
    assert events[-1].seconds < events[0].seconds


def test_waiting_can_be_seen_by_others_but_not_by_oneself(make_kit: Make) -> None:
    """Who waits leaves a hint that every other process sees for a moment; an idle pool shows none."""
    holder, waiter = make_kit(size=1), make_kit(size=1)
    holder.lease()
    assert not holder.pool.somebody_waits()
    with pytest.raises(PoolTimeoutError):
        waiter.lease()
    assert holder.pool.somebody_waits()
    assert not waiter.pool.somebody_waits()


@pytest.mark.parametrize("waiting", [True, False])
def test_who_has_just_released_lets_others_go_first(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch, *, waiting: bool
) -> None:
    """When somebody else waits, the releaser pauses for a poll or two before it asks again; otherwise it does not."""
    kit, other = make_kit(size=1), make_kit(size=1)
    pauses: list[float] = []
    lease = kit.lease()
    lease.release()
    if waiting:
        other.pool._hint.touch()
    # However busy the machine is: no time has passed since.
    monkeypatch.setattr(waiting_hint, "FRESH", 3600.0)
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: lease.released_at, sleep=pauses.append))
    kit.lease()
    assert [0.045 <= pause <= 0.075 for pause in pauses] == [True] * waiting


@pytest.mark.parametrize("isolation", ["exclusive", "namespace"])
def test_the_last_two_slots_are_not_both_kept(make_kit: Make, monkeypatch: pytest.MonkeyPatch, isolation: str) -> None:
    """Of two who keep their clusters at once, one is told that no other slot is left."""
    leases = [make_kit().lease(isolation) for _ in range(2)]
    both, keep = threading.Barrier(2), HeldSlot.keep

    def slowly(held: HeldSlot, why: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.3)  # both are here only if both have looked before one of them writes
        keep(held, why)

    monkeypatch.setattr(HeldSlot, "keep", slowly)
    kept: list[bool] = []
    threads = [threading.Thread(target=lambda lease=lease: kept.append(lease.keep("me"))) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kept) == [False, True]


def test_who_never_gets_a_turn_to_keep_is_told(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else keeps a cluster, for ever: nothing is kept, and nobody is told that it were."""
    monkeypatch.setattr(asking, "_KEEP_PATIENCE", 0.05)
    lease = kit.lease()
    turn = try_lock(kit.root.slots / "keeping.lock")
    assert turn is not None
    assert not lease.keep("me")
    turn.release()
    lease.release()
    assert kit.states() == ["DIRTY", "EMPTY"]


def test_who_waits_for_what_was_kept_meanwhile_is_told(make_kit: Make) -> None:
    """Two clusters of a pool with two slots can never be had once one is kept: the wait ends then, not at its deadline."""
    holder, asker = make_kit(), make_kit(lease_timeout=60.0)
    lease = holder.lease()
    said: list[str] = []

    def ask() -> None:
        try:
            asker.pool.lease([want(), want(version="1.35")], note="")
        except PoolTimeoutError as error:
            said.append(error.message)

    waiting = threading.Thread(target=ask)
    waiting.start()
    while not holder.pool.somebody_waits():
        time.sleep(0.01)
    assert lease.keep("me")
    lease.release()
    holder.pool.tidy()
    waiting.join(timeout=30)
    assert "asks for 2 more, but the pool has 1 usable slots" in said[0]


def test_a_lock_whose_file_cannot_be_removed_is_free(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot remove his lock's file, on a disk that became read-only, holds it no longer all the same."""

    def refuse(path: Path, **_: bool) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system", str(path))

    process = ProcessLock(kit.root.processes, kit.run)
    process.take()
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError):
        process.drop()
    monkeypatch.undo()
    assert (process.held, is_held(process.path)) == (False, False)


def test_room_is_an_empty_slot_below_the_size(make_kit: Make) -> None:
    """A pool has room until its last slot has a record; a smaller run has less of it."""
    big, small = make_kit(size=2), make_kit(size=1)
    assert (big.pool.has_room(), small.pool.has_room()) == (True, True)
    big.lease()
    assert (big.pool.has_room(), small.pool.has_room()) == (True, False)


def test_the_default_size_suits_the_machine() -> None:
    """At least one cluster, at most two per core, and 650 MiB of memory for each."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1 <= default_size() <= 2 * (os.cpu_count() or 1)
    assert default_size() == 1 or default_size() * 650 * 2**20 <= memory


def test_a_root_that_was_removed_is_named(kit: Kit) -> None:
    """Leasing from a pool whose directory was removed is an error; it does not invent locks in a new one."""
    kit.pool.close()
    for path in sorted(kit.root.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(StateError, match="has been removed while it was in use"):
        kit.lease()
    assert list(kit.root.path.iterdir()) == []


@pytest.mark.parametrize("isolation", ["exclusive", "namespace"])
def test_an_adoption_that_fails_names_nobody_as_user(
    make_kit: Callable[..., Kit], order: Callable[..., Path], isolation: str
) -> None:
    """The cluster that could not be handed over is doomed, so the next asker need not wait for us to end."""
    kit = make_kit(size=1)
    order(failures={"adopt": {"text": "the supervisor is gone", "times": 1}})
    with pytest.raises(ProvisionError, match="the supervisor is gone"):
        kit.lease(isolation)
    assert kit.states() == ["DOOMED"]
    assert make_kit(size=1).lease(isolation).start == "fresh"


@pytest.mark.parametrize("isolation", ["exclusive", "namespace"])
def test_who_failed_to_make_clusters_may_use_those_that_are_there(
    kit: Kit, order: Callable[..., Path], isolation: str
) -> None:
    """A failed creation ends further ones of this run, not the use of a cluster that fits, and that changes nothing."""
    warm = kit.lease("exclusive")
    order(failures={"create": "no memory"})
    with pytest.raises(ProvisionError, match="no memory"):
        kit.lease(isolation)
    with pytest.raises(ProvisionError, match="not tried again"):
        kit.lease(isolation)
    warm.release()
    assert kit.lease(isolation).name == warm.name
    assert Build(kit.root.builds, f"{kit.run}.{want().fingerprint}").hopeless


@pytest.mark.parametrize("isolation", ["exclusive", "namespace"])
def test_bookkeeping_that_cannot_be_written_hides_no_error(
    kit: Kit, order: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """The provider's own words arrive although the count of failed builds finds no room on the disk."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(builds, "write_json", full)
    order(failures={"create": "the API server said no"})
    with pytest.raises(ProvisionError, match="the API server said no"):
        kit.lease(isolation)


def test_what_cannot_be_reset_goes_at_the_end_of_its_run(make_kit: Callable[..., Kit], order: Order) -> None:
    """A used cluster that nobody will use again does not stay for its time, an unused or resettable one does."""
    order(capabilities=["isolation"])
    kit = make_kit()
    kit.lease().release()
    order(capabilities=["isolation", "reset"])
    other = make_kit(run=kit.run)
    kept = other.lease(version="1.35")
    kept.release()
    kit.pool.retire(everything=False)
    assert kit.clusters() == [kept.name]


def test_a_provider_that_cannot_reset_makes_clusters_for_one_use(kit: Kit, order: Order) -> None:
    """A used cluster is deleted and the next lease gets a new one, without any attempt to reset."""
    calls = order(capabilities=["isolation"])
    first = kit.lease()
    first.release()
    second = kit.lease()
    assert (second.start, second.number) == ("fresh", first.number)
    assert second.name != first.name
    assert kit.clusters() == [second.name]
    assert actions(calls) == ["create", "delete", "create"]
