"""The janitor: a real process that looks after clusters without a supervisor, and leaves when there are none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina import _janitor
from pytest_kina._janitor import _attend, _identity, _is_due, _is_ours, _Plan, work
from pytest_kina.pool import Lease, Root, records
from pytest_kina.pool.janitor import ensure, lock_of, log_of
from pytest_kina.pool.locks import is_held, try_lock
from pytest_kina.pool.records import State
from pytest_kina.testing import backend_state, use_backend
from tests.support.newer import VERSION, make_newer
from tests.support.pool_kit import Kit, want

ALONE = "tests.support.unsupervised:Unsupervised"
PATIENCE = 60.0
NEWER_RUN = """
import sys
from pathlib import Path
import pytest_kina
from tests.support.pool_kit import Kit, want

(leased,) = Kit(Path(sys.argv[1]), ttl=3.0).pool.lease([want("exclusive", sys.argv[2])], note="a test")
print(pytest_kina.__version__, leased.name)
"""


def janitors(root: Path) -> list[int]:
    """The pids of the janitors of a pool."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"pytest_kina._janitor" in words and str(root).encode() in words:
                found.append(int(path.name))
    return found


def wait_until(what: Callable[[], object], why: str) -> None:
    """Wait for something that happens in the background."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root for one test; a janitor that a failed test has left is ended, by its pid."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    yield tmp_path / "root"
    for pid in janitors(tmp_path / "root"):
        os.kill(pid, signal.SIGKILL)


def lease(kit: Kit, isolation: str = "exclusive") -> Lease:
    """Lease a cluster that nobody watches."""
    (leased,) = kit.pool.lease([want(isolation, ALONE)], note="tests/test_it.py::test_it")
    return leased


def test_used_clusters_are_cleaned_and_go_when_their_time_is_over(root: Path) -> None:
    """By one process for both, with no run alive; when they are gone it ends, and complained about nothing."""
    kit = Kit(root, ttl=900.0)
    leases = [lease(kit), lease(kit, "namespace")]
    for each in leases:
        use_backend(each.directory, "a test")
    assert len(janitors(root)) == 1
    assert is_held(lock_of(kit.root))
    kit.pool.close()
    wait_until(lambda: kit.states() == ["READY", "READY"], "the clusters were not cleaned")
    assert [backend_state(each.directory) for each in leases] == ["clean", "clean"]
    for number in (0, 1):
        record = kit.record(number)
        assert record is not None
        kit.put(number, replace(record, idle_since=1.0))
    wait_until(lambda: kit.clusters() == [], "the clusters outlived their time")
    wait_until(lambda: janitors(root) == [], "the janitor outlived the clusters")
    assert log_of(kit.root).read_text() == ""


def test_a_run_that_keeps_nothing_and_is_killed_leaves_nothing(root: Path) -> None:
    """With TTL 0 the janitor deletes as soon as the run's last process is dead, whoever that was."""
    kit = Kit(root, ttl=0.0)
    leased = lease(kit)
    leased.release()
    kit.pool._process.drop()
    wait_until(lambda: kit.clusters() == [], "the cluster of a dead run stayed")
    wait_until(lambda: janitors(root) == [], "the janitor outlived the cluster")


def test_what_is_in_use_is_left_alone(root: Path) -> None:
    """A held cluster is nobody's business, however short its time: the janitor looks again in a second."""
    kit = Kit(root, ttl=0.001)
    leased = lease(kit)
    use_backend(leased.directory, "a test")
    plan = _attend(kit.root, leased.number, leased.name)
    assert plan.due is not None
    assert backend_state(leased.directory) == "used by a test"
    kit.pool.close()
    wait_until(lambda: kit.clusters() == [], "the cluster outlived its time")
    wait_until(lambda: janitors(root) == [], "the janitor outlived the cluster")


def test_a_killed_janitor_is_replaced_with_the_next_cluster(root: Path) -> None:
    """Its lock is free when it is dead; the clusters that it looked after are looked after again."""
    kit = Kit(root, ttl=900.0)
    lease(kit)
    (first,) = janitors(root)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_held(lock_of(kit.root)), "the lock outlived its holder")
    lease(kit)
    (second,) = janitors(root)
    assert second != first
    kit.pool.retire()
    wait_until(lambda: janitors(root) == [], "the janitor stayed")


def test_supervised_clusters_need_none(root: Path) -> None:
    """Nothing is started for them, and a janitor that is started all the same ends at once."""
    kit = Kit(root)
    kit.lease()
    assert (janitors(root), lock_of(kit.root).exists()) == ([], False)
    work(kit.root)
    ensure(kit.root)
    wait_until(lambda: janitors(root) == [], "it had nothing to do")
    kit.pool.retire()


def test_clusters_of_a_provider_that_is_not_installed_are_left_alone(root: Path) -> None:
    """So are those that are quarantined: a janitor for them would never end."""
    kit = Kit(root)
    number = kit.lease().number
    record = records.survey(kit.root.slots)[number]
    assert not _is_ours(replace(record, provider="tests.support.nowhere:Provider"))
    assert not _is_ours(replace(record, provider=""))
    assert _is_ours(alone := replace(record, provider=ALONE))
    assert not _is_ours(replace(alone, state=State.QUARANTINED))
    kit.pool.retire()


def test_a_cluster_is_looked_at_again_when_there_is_reason_to(root: Path, tmp_path: Path) -> None:
    """Its time has come, its record is another one, or nobody holds the watched locks any more; else it is left alone."""
    kit = Kit(root)
    number, held = kit.lease().number, try_lock(tmp_path / "held.lock")
    seen, watched = _identity(kit.root, number), (str(tmp_path / "held.lock"),)
    assert held is not None
    assert _is_due(kit.root, number, None)
    assert not _is_due(kit.root, number, _Plan(seen, time.monotonic() + 60, watched))
    assert _is_due(kit.root, number, _Plan(seen, time.monotonic() - 1, watched))
    assert _is_due(kit.root, number, _Plan(None, None, watched))
    held.release()
    assert _is_due(kit.root, number, _Plan(seen, None, watched))
    assert not _is_due(kit.root, number, _Plan(seen, None, ()))
    assert _identity(kit.root, 999) is None
    kit.pool.retire()


def test_a_cluster_that_is_announced_while_the_janitor_leaves_is_looked_after(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who announces it sees the lock held and starts nobody; so the janitor looks once more, and stays for its time."""
    kit = Kit(root, ttl=2.5)
    serve, rounds = _janitor._serve, []

    def serving(pool: Root) -> None:
        serve(pool)
        rounds.append(kit.clusters())
        if len(rounds) == 1:
            use_backend(lease(kit).directory, "a test")
            kit.pool.close()
            assert janitors(root) == []

    monkeypatch.setattr(_janitor, "_serve", serving)
    began = time.monotonic()
    work(kit.root)
    assert rounds == [[], []]
    assert time.monotonic() - began > 2.5


def test_a_second_janitor_leaves_the_work_to_the_first(root: Path) -> None:
    """It finds the lock held, and ends."""
    kit = Kit(root)
    lease(kit)
    # It lets its parent go before it takes the lock; until then the work would be ours, and for good.
    wait_until(lambda: is_held(lock_of(kit.root)), "the janitor took no lock")
    (first,) = janitors(root)
    work(kit.root)
    assert janitors(root) == [first]
    kit.pool.retire()
    wait_until(lambda: janitors(root) == [], "the janitor stayed")


def test_a_janitor_that_cannot_be_started_spoils_no_lease(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is handed out; who comes next cleans up."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    kit = Kit(root, ttl=0.0)
    assert lease(kit).start == "fresh"
    kit.pool.retire()
    assert kit.clusters() == []


def test_another_versions_clusters_have_a_janitor_of_that_version(root: Path, tmp_path: Path) -> None:
    """Ours cannot read their records; a newer run's cluster goes when its time is over, although our janitor is at work."""
    kit = Kit(root, ttl=900.0)
    ours = lease(kit)
    environment = os.environ | make_newer(tmp_path / "later")
    argv = [sys.executable, "-c", NEWER_RUN, str(root), ALONE]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    version, theirs = done.stdout.split()
    assert (version, set(kit.clusters())) == (VERSION, {ours.name, theirs})
    wait_until(lambda: kit.clusters() == [ours.name], "the newer version's cluster stayed")
    kit.pool.retire()
    wait_until(lambda: janitors(root) == [], "a janitor stayed")
