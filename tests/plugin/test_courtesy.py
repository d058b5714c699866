"""Leases and their neighbours: with one slot, nobody waits for a process that does not need what it holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kina.errors import StateError
from pytest_kina.plugin.courtesy import Courtesy
from tests.plugin.conftest import Project

pytest.importorskip("xdist")

MEETING = """
import pathlib, time

def arrive(name):
    pathlib.Path(__file__).with_name(name).touch()

def wait_for(name):
    deadline = time.monotonic() + 30
    while not pathlib.Path(__file__).with_name(name).exists():
        assert time.monotonic() < deadline, f"nobody came to {name}"
        time.sleep(0.01)
"""


def run_on_one_slot(project: Project) -> None:
    """Two workers, a file each, one slot; a wait that only ends with the test fails by the lease time-out."""
    result = project.run_apart("-n", "2", "--dist", "loadfile", "--kina-pool-size=1", "--kina-lease-timeout=20s")
    result.assert_outcomes(passed=4)


def test_waiter_in_the_middle_of_a_plain_test_is_served(project: Project) -> None:
    """A worker that runs a test without cluster gives its lease back as soon as another worker waits for the slot."""
    project.write(
        meeting=MEETING,
        test_a="""
        from meeting import arrive, wait_for

        def test_1(kina_cluster): pass
        def test_2():
            arrive("holder runs a test without cluster")
            wait_for("waiter was served")
        def test_3(kina_cluster): pass
        """,
        test_b="""
        import pytest
        from meeting import arrive, wait_for

        @pytest.fixture
        def late(): wait_for("holder runs a test without cluster")

        @pytest.fixture
        def lease(late, request): return request.getfixturevalue("kina_cluster")

        def test_1(lease): arrive("waiter was served")
        """,
    )
    run_on_one_slot(project)
    assert project.calls()["create"] == 1


def test_fixtures_of_users_make_room_before_a_plain_test(project: Project) -> None:
    """A lease that a user's session fixture depends on is torn down before a plain test, when the run needs the slot."""
    project.write(
        meeting=MEETING,
        test_a="""
        import pytest
        from meeting import arrive, wait_for

        @pytest.fixture(scope="session")
        def operator(kina_cluster):
            yield kina_cluster.name
            assert (kina_cluster.directory / "backend").exists(), "torn down while the cluster is still leased"

        def test_1(operator): arrive("holder has its lease")
        def test_2(): wait_for("waiter was served")
        def test_3(operator): pass
        """,
        test_b="""
        import pytest
        from meeting import arrive, wait_for

        @pytest.fixture(scope="session")
        def late(): wait_for("holder has its lease")

        @pytest.fixture(scope="session")
        def kina_cluster(late, kina_cluster): return kina_cluster

        @pytest.mark.kina_cluster(version="1.35")
        def test_1(kina_cluster): arrive("waiter was served")
        """,
    )
    run_on_one_slot(project)


def test_lease_stays_while_nobody_wants_it(project: Project) -> None:
    """Plain tests in between cost no lease and no set-up of fixtures, even when the pool is full."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture(scope="session")
        def operator(kina_cluster): return object()

        def test_1(operator): pass
        def test_2(): pass
        def test_3(operator): pass
        """
    )
    project.run("--kina-pool-size=1").assert_outcomes(passed=3)
    assert project.leases() == {"main": 1}


class Watched:
    """A loan that notes when it was given back, and a pool where somebody waits from a moment that the test sets."""

    def __init__(self, give_back: Callable[[], None] = lambda: None) -> None:
        self.returned = threading.Event()
        self.waiting = threading.Event()
        self._give_back = give_back
        self.courtesy = Courtesy(self.waiting.is_set)
        self.loan: Any = SimpleNamespace(give_back=self._return)

    def _return(self) -> None:
        self.returned.set()
        self._give_back()


@pytest.fixture
def watched() -> Any:
    """A watched loan, whose thread ends with the test."""
    watched = Watched()
    yield watched
    watched.courtesy.close()


def test_loan_is_given_back_when_somebody_begins_to_wait(watched: Watched) -> None:
    """A loan goes back when somebody begins to wait, and the keeper is told."""
    watched.courtesy.begin(watched.loan)
    watched.waiting.set()
    assert watched.returned.wait(10)
    watched.courtesy.end()
    assert watched.courtesy.gave_back
    watched.courtesy.forget()
    assert not watched.courtesy.gave_back


def test_loan_stays_once_its_test_needs_it(watched: Watched) -> None:
    """After the test that did not need it, a loan stays, whoever waits."""
    watched.courtesy.begin(watched.loan)
    watched.courtesy.end()
    watched.waiting.set()
    assert not watched.returned.wait(0.5)  # the thread would have looked several times by now
    watched.courtesy.close()


def test_end_waits_for_a_return_that_has_begun() -> None:
    """The next test does not start on a lease that is being given back at this moment."""
    finished = threading.Event()

    def slowly() -> None:
        time.sleep(0.2)
        finished.set()

    watched = Watched(slowly)
    watched.waiting.set()
    watched.courtesy.begin(watched.loan)
    assert watched.returned.wait(10)
    watched.courtesy.end()
    assert finished.is_set()
    watched.courtesy.close()


def test_failed_return_leaves_the_loan_to_its_fixture(caplog: pytest.LogCaptureFixture) -> None:
    """When giving back fails, it is logged, and the fixture that holds the loan ends it later."""

    def refuse() -> None:
        raise StateError("the disk is gone")

    watched = Watched(refuse)
    watched.waiting.set()
    watched.courtesy.begin(watched.loan)
    assert watched.returned.wait(10)
    watched.courtesy.close()
    assert not watched.courtesy.gave_back
    assert "the disk is gone" in caplog.text
