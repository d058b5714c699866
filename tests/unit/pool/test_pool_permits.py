"""How many clusters start at once: all permits taken means waiting, with nothing held meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pytest_kina.errors import PoolTimeoutError
from pytest_kina.pool import permits, tidying
from pytest_kina.pool.locks import is_held, try_lock
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.timing import Phase
from tests.support.pool_kit import Kit, want

Make = Callable[..., Kit]


@contextmanager
def starting(kit: Kit, count: int) -> Iterator[None]:
    """So many other clusters of this machine are starting during the block."""
    locks = [try_lock(kit.root.starts / f"{number}.lock") for number in range(count)]
    try:
        yield
    finally:
        for lock in locks:
            assert lock is not None
            lock.release()


ALL = permits.limit()


def test_who_gets_no_permit_waits_and_holds_nothing(kit: Kit) -> None:
    """At the deadline the error is the usual one; no slot was touched and no build was counted."""
    for isolation in ("exclusive", "namespace"):
        with starting(kit, ALL), pytest.raises(PoolTimeoutError, match="no cluster became free"):
            kit.lease(isolation)
    assert kit.states() == ["EMPTY", "EMPTY"]
    assert kit.clusters() == []
    assert list(kit.root.builds.glob("*.json")) == []


def test_the_wait_for_a_permit_is_a_phase_of_its_own(make_kit: Make) -> None:
    """It is neither waiting for a slot nor for another process of the run."""
    kit, waiting = make_kit(lease_timeout=20.0), threading.Event()
    kit.pool._hint.touch = waiting.set  # type: ignore[method-assign]  # it is called by who waits
    with starting(kit, ALL):
        thread = threading.Thread(target=kit.lease)
        thread.start()
        assert waiting.wait(20)
    thread.join()
    events = {event.phase: event.seconds for event in kit.recorder.drain()}
    assert events[Phase.START_WAIT] > 0
    assert Phase.BUILD_WAIT not in events
    assert kit.states()[0] == "DIRTY"


def test_a_cluster_that_stands_ready_needs_no_permit(make_kit: Make) -> None:
    """A permit is for starting: joining a shared cluster goes on meanwhile."""
    kit = make_kit()
    shared = kit.lease("namespace")
    with starting(kit, ALL):
        assert kit.lease("namespace").name == shared.name


def test_permits_are_given_back(kit: Kit) -> None:
    """After a creation and after a reset all of them are free."""
    kit.lease().release()
    kit.lease().release()
    assert not any(is_held(kit.root.starts / f"{number}.lock") for number in range(ALL))


def test_several_clusters_take_one_permit(make_kit: Make) -> None:
    """They are made one after the other, so a process starts one at a time."""
    kit = make_kit(size=3)
    with starting(kit, ALL - 1):
        leases = kit.pool.lease([want(), want(), want(simulated_nodes=5)], note="t")
    assert len({lease.name for lease in leases}) == 3


def test_the_idle_helper_does_not_reset_meanwhile(kit: Kit) -> None:
    """It comes back a second later, and the attempt is not counted."""
    lease = kit.lease()
    lease.release()
    kit.pool.close()  # the run is over, so nothing else holds the helper back
    with starting(kit, ALL):
        assert tidying.advise(kit.pool._actor, 0, lease.name).wake_after == 1.0
    record = kit.record(0)
    assert record is not None
    assert (record.state, record.attempts) == ("DIRTY", 0)
    tidying.advise(kit.pool._actor, 0, lease.name)
    assert kit.states()[0] == "READY"


def test_a_clean_cluster_that_has_died_is_not_replaced_without_a_permit(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot is cleared, and filled when there is a permit again."""
    lease = kit.lease()
    lease.release()
    kit.pool.close()
    tidying.advise(kit.pool._actor, 0, lease.name)
    assert kit.states()[0] == "READY"
    monkeypatch.setattr(HeldSlot, "unhealthy", lambda *_: "it has died")
    with starting(kit, ALL), pytest.raises(PoolTimeoutError):
        kit.lease()
    assert kit.states() == ["EMPTY", "EMPTY"]
    assert kit.lease().start == "fresh"
