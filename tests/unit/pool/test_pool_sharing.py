"""Sharing one cluster between the processes of a run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.pool.actor import concurrency
from pytest_kina.pool.locks import ProcessLock, is_alive, try_lock
from pytest_kina.pool.memberships import Memberships
from pytest_kina.pool.records import State
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.providers import Place
from pytest_kina.testing import CALLS, FakeProvider, backend_state, read_calls, use_backend
from pytest_kina.timing import Phase
from tests.support.pool_kit import Kit, want

Make = Callable[..., Kit]


def test_the_processes_of_a_run_share_and_other_runs_do_not(make_kit: Make) -> None:
    """Equal specs of one run get one cluster, made once; another run gets its own."""
    first = make_kit()
    second, stranger = make_kit(run=first.run), make_kit()
    one, two, other = first.lease("namespace"), second.lease("namespace"), stranger.lease("namespace")
    assert (one.name, one.start, two.start) == (two.name, "fresh", "reused")
    assert other.name != one.name
    assert first.status(0).held is False
    assert len(first.status(0).users) == 2


def test_leaving_takes_the_name_off_the_record(make_kit: Make) -> None:
    """Each process leaves for itself; the cluster stays SHARED, and may be joined again without a reset."""
    first = make_kit()
    second = make_kit(run=first.run)
    one, two = first.lease("namespace"), second.lease("namespace")
    one.release()
    assert len(first.status(0).users) == 1
    two.release()
    assert (first.status(0).state, first.status(0).users) == ("SHARED", ())
    use_backend(two.directory, "the run")
    assert backend_state(first.lease("namespace").directory) == "used by the run"


def test_a_process_with_two_leases_leaves_with_the_second(kit: Kit) -> None:
    """The record names a process once, until its last lease of the cluster is given back."""
    one, two = kit.lease("namespace"), kit.lease("namespace")
    one.release()
    assert len(kit.status(0).users) == 1
    two.release()
    assert kit.status(0).users == ()


def test_a_lease_that_nobody_is_told_of_is_given_back(make_kit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the election cannot be ended after the cluster was made, the asker does not stay its user for ever."""
    kit = make_kit()
    monkeypatch.setenv("KINA_CRASH", "unlock.build.before:enospc")
    with pytest.raises(OSError, match="No space left"):
        kit.lease("namespace")
    assert (kit.status(0).state, kit.status(0).users) == ("SHARED", ())
    monkeypatch.delenv("KINA_CRASH")
    assert kit.lease("namespace").start == "reused"


def test_an_interrupted_hand_out_does_not_keep_the_run_from_ending(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the record and the lease leaves this process's name behind; the end of the run deletes at once."""
    kit = make_kit(ttl=0.0)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeProvider, "adopt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kit.lease("namespace")
    assert len(kit.status(0).users) == 1
    said = kit.pool.retire()
    assert (kit.states(), kit.clusters()) == (["EMPTY", "EMPTY"], [])
    assert not any("still uses" in sentence for sentence in said)


def test_a_count_of_builds_that_cannot_be_removed_costs_no_user(kit: Kit) -> None:
    """When the success of a build cannot be noted, the lease is given back, not lost."""
    obstacle = kit.root.builds / f"{kit.run}.{want('namespace').fingerprint}.json" / "in the way"
    obstacle.mkdir(parents=True)
    with pytest.raises(OSError, match=obstacle.parent.name):
        kit.lease("namespace")
    assert (kit.status(0).state, kit.status(0).users) == ("SHARED", ())


def test_leaving_while_joining_again_keeps_the_name(kit: Kit) -> None:
    """A lease given back by one thread does not sign off a process that another thread has just made a user again."""
    lease = kit.lease("namespace")
    busy = HeldSlot.take(kit.pool._actor, 0)
    assert busy is not None
    leaving = threading.Thread(target=lease.release)
    leaving.start()
    while kit.pool._memberships._leases[lease.name]:
        time.sleep(0.001)
    kit.pool._memberships.count(lease.name)
    busy.close()
    leaving.join()
    assert len(kit.status(0).users) == 1


def test_a_cluster_in_use_is_not_taken_but_an_abandoned_one_is(make_kit: Make) -> None:
    """Another run resets a shared cluster only when nobody shares it any more."""
    run, other = make_kit(size=2), make_kit(size=2)
    shared = run.lease("namespace")
    assert other.lease().number == 1
    use_backend(shared.directory, "the run")
    shared.release()
    taken = other.lease()
    assert (taken.name, backend_state(taken.directory)) == (shared.name, "clean")


def test_the_dead_do_not_hold_a_shared_cluster(make_kit: Make) -> None:
    """A user whose process lock is gone or free is dead; a name that looks alive by its pid does not count."""
    run, other = make_kit(size=1), make_kit(size=1)
    run.lease("namespace").release()
    record = run.record(0)
    assert record is not None
    dead = f"{run.run}.{os.getpid()}.00000000"
    run.put(0, replace(record, users=(dead,)))
    assert other.lease().number == 0


def test_a_shared_cluster_that_died_is_replaced_for_the_run(make_kit: Make) -> None:
    """Whoever joins next finds it broken and makes another; those who use it keep their record."""
    first = make_kit()
    second = make_kit(run=first.run)
    old = first.lease("namespace")
    (old.directory / "backend").unlink()
    new = second.lease("namespace")
    assert new.name != old.name
    record = first.record(0)
    assert record is not None
    assert (record.broken, len(record.users), record.cluster) == (True, 1, old.name)
    assert first.lease("namespace").name == new.name
    old.release()
    assert make_kit().lease().number == 0
    assert old.name not in first.clusters()


def test_a_join_asks_for_health_before_it_locks(make_kit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leases at the same moment must not wait for the answers that others get one after the other."""
    first = make_kit(size=1)
    second = make_kit(run=first.run, size=1)
    first.lease("namespace")
    free: list[bool] = []
    check = FakeProvider.check

    def looking(provider: FakeProvider, place: Place) -> str | None:
        lock = try_lock(place.slot_lock)
        free.append(lock is not None)
        if lock is not None:
            lock.release()
        return check(provider, place)

    monkeypatch.setattr(FakeProvider, "check", looking)
    second.lease("namespace")
    assert free == [True]


def test_a_cluster_that_dies_between_question_and_join_is_not_the_one_that_was_asked(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned of one cluster says nothing of the next one in its slot, which is asked under the lock."""
    first = make_kit(size=1)
    second = make_kit(run=first.run, size=1)
    lease = first.lease("namespace")
    asked: list[str] = []
    check = FakeProvider.check

    def replacing(provider: FakeProvider, place: Place) -> str | None:
        asked.append(place.name)
        if len(asked) == 1:
            monkeypatch.setattr(Memberships, "find", lambda *_: None)
            lease.release()
            held = HeldSlot.take(first.pool._actor, 0)
            assert held is not None
            record = held.look()
            assert record is not None
            assert held.delete(held.doom(record, "for the test"))
            held.close()
            first.lease("namespace")
            asked[1:] = []
            return None  # it was well when it was asked
        return check(provider, place)

    monkeypatch.setattr(FakeProvider, "check", replacing)
    new = second.lease("namespace")
    assert new.name != lease.name
    assert asked == [lease.name, new.name]


def test_a_join_waits_for_a_busy_moment(make_kit: Make) -> None:
    """A slot lock that somebody holds for a moment does not turn a joiner away."""
    first = make_kit(size=1)
    second = make_kit(run=first.run, size=1, lease_timeout=0.0)
    lease = first.lease("namespace")
    held = HeldSlot.take(first.pool._actor, 0)
    assert held is not None
    timer = threading.Timer(0.2, held.close)
    timer.start()
    assert second.lease("namespace").name == lease.name
    timer.join()


def test_one_build_lock_per_run_and_none_left(make_kit: Make) -> None:
    """After a shared cluster is made, neither its build lock nor a count of failures stays."""
    kit = make_kit()
    kit.lease("namespace")
    assert list(kit.root.builds.iterdir()) == []
    assert [call["action"] for call in read_calls(kit.root.path / CALLS)] == ["create", "adopt"]


def test_a_process_lock_lives_as_long_as_it_is_held(tmp_path: Path) -> None:
    """A process is alive between take and drop, in every other process's eyes, and its name is its own."""
    lock, other = ProcessLock(tmp_path, "run"), ProcessLock(tmp_path, "run")
    assert not is_alive(tmp_path, lock.name)
    lock.take()
    lock.take()
    assert lock.held
    assert is_alive(tmp_path, lock.name)
    assert lock.name != other.name
    lock.drop()
    lock.drop()
    assert not is_alive(tmp_path, lock.name)
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_somebody_who_builds_is_not_waiting_for_a_lease(make_kit: Make, order: Callable[..., Path]) -> None:
    """Who joins a cluster while another process makes it records the building as such: a warm lease costs nothing."""
    order(delays={"create": 0.5})
    first = make_kit(lease_timeout=30.0)
    second = make_kit(run=first.run, lease_timeout=30.0)
    building = threading.Thread(target=first.lease, args=("namespace",))
    building.start()
    while not first.clusters():
        time.sleep(0.001)
    second.lease("namespace")
    building.join()
    waited = {event.phase: event for event in second.recorder.drain()}
    assert set(waited) == {Phase.BUILD_WAIT, Phase.LEASE_WAIT}
    assert waited[Phase.BUILD_WAIT].seconds > waited[Phase.LEASE_WAIT].seconds
    assert Phase.BUILD_WAIT not in first.phases()


def test_removable_lock_files_are_unlinked_while_they_are_held(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the file at that moment finds it locked, and later unlinked: never a lock that nobody shares."""
    held: list[bool] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".lock":
            held.append(try_lock(path) is None)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    kit.lease("namespace")
    kit.pool.close()
    assert held == [True, True], "the build lock, and the process lock"


def test_two_equal_wants_get_two_new_clusters(kit: Kit) -> None:
    """On an empty pool, too: the second is elected apart from the first, by the same process."""
    one, two = kit.pool.lease([want("namespace"), want("namespace")], note="tests/test_it.py::test_it")
    assert one.name != two.name
    assert kit.states() == ["SHARED", "SHARED"]


def test_who_wins_the_election_late_looks_again(make_kit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that was shared between a process's look and its build lock is joined, not made a second time."""
    first = make_kit(lease_timeout=5.0)
    second = make_kit(run=first.run, lease_timeout=5.0)
    join, made = second.pool._memberships.join, []

    def outdated(*arguments: object) -> object:
        answer = join(*arguments)  # type: ignore[arg-type]
        if not made:
            made.append(first.lease("namespace"))
        return answer

    monkeypatch.setattr(second.pool._memberships, "join", outdated)
    assert second.lease("namespace").name == made[0].name
    assert len(first.clusters()) == 1


def test_slots_at_work_are_counted(make_kit: Make) -> None:
    """What is held or has a living user counts, what waits for its reset or stands ready does not."""
    run, other = make_kit(size=4, lease_timeout=5.0), make_kit(size=4, lease_timeout=5.0)
    assert concurrency(run.root) == 1, "nothing is at work, and whoever asks is"
    shared, _exclusive, used = run.lease("namespace"), other.lease(), other.lease()
    used.release()
    ready = run.record(used.number)
    assert ready is not None
    run.put(3, replace(ready, state=State.READY, cluster="kina-abcdef-3-00000000"))
    assert concurrency(run.root) == 2
    shared.release()
    assert concurrency(run.root) == 1
