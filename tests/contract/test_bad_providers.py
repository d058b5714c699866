"""The conformance suite finds what is wrong with a provider, and finds it where it is wrong."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from contextlib import suppress
from itertools import count

import pytest

from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import FakeProvider, checks, examine
from pytest_kina.testing.bench import Bench, interrupted
from pytest_kina.timing import Phase, Stopwatch
from tests.contract.bad_providers import BAD, EVERYWHERE
from tests.contract.suites import FakeSuite
from tests.contract.tables import ONLY_WITH


def failures(bad: type[FakeProvider]) -> dict[str, str]:
    """The tests that ``bad`` fails, each with the reason."""
    suite = type("Suite", (FakeSuite,), {"made": bad})
    return {finding.check: finding.why for finding in examine(suite) if finding.outcome == "failed"}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_one_fault_is_found_by_one_test(bad: type[FakeProvider]) -> None:
    """The named test fails, saying what it expected, and no other does."""
    found = failures(bad)
    assert set(found) == BAD[bad], found
    assert all(why.split(": ", 1)[1] for why in found.values())


@pytest.mark.parametrize("bad", EVERYWHERE, ids=lambda bad: bad.__name__)
def test_a_fundamental_fault_is_found(bad: type[FakeProvider]) -> None:
    """The tests that are about it are among those that fail."""
    assert EVERYWHERE[bad] <= set(failures(bad))


def test_what_ends_late_leaves_nothing() -> None:
    """Supervisors and janitors may write until they have seen that their clusters are gone."""
    bench, ended = Bench(), threading.Event()

    def write() -> None:
        for number in count():
            if ended.is_set():
                return
            with suppress(FileNotFoundError):
                (bench.root.processes / f"{number}.lock").touch()

    writer, end = threading.Thread(target=write), threading.Timer(0.3, ended.set)
    writer.start()
    end.start()
    bench.clear(FakeProvider)
    end.join()
    writer.join()
    assert not bench.directory.exists()


def test_what_does_not_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes for ever is a fault of the provider; the files tell who it is."""
    bench, remove = Bench(), shutil.rmtree
    (bench.directory / "clue").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(AssertionError, match=r"cannot be removed; \['clue', .*\] come back or are in use"):
        bench.clear(FakeProvider, patience=0.1)
    remove(bench.directory)


class Disturbed(FakeSuite):
    """Somebody still writes at the end of each test."""

    def teardown_method(self) -> None:
        """As a bench says it that cannot be cleared."""
        super().teardown_method()
        raise AssertionError("in use")


def test_what_does_not_go_fails_the_test_that_left_it() -> None:
    """The report goes on to the last test."""
    assert [(each.check, each.why) for each in examine(Disturbed)] == [
        (name, "AssertionError: in use") for name in checks()
    ]


def test_each_check_can_fail() -> None:
    """For every test of the suite there is a provider that fails it."""
    assert set.union(*BAD.values(), *EVERYWHERE.values()) == set(checks())


def test_an_interrupt_just_after_the_end_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The creation was done before it; nobody has swallowed anything."""
    stop = signal.setitimer

    def late(which: int, seconds: float) -> tuple[float, float]:
        if not seconds:
            signal.raise_signal(signal.SIGALRM)
        return stop(which, seconds)

    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(signal, "setitimer", late)
    try:
        interrupted(lambda: None, 60.0)
        with pytest.raises(AssertionError, match="was swallowed"):
            interrupted(swallow, 60.0)
    finally:
        stop(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Slow:
    """Something that takes its time to go away."""

    def __del__(self) -> None:
        """As a file does that waits for its disk."""
        signal.raise_signal(signal.SIGALRM)


def test_an_interrupt_that_a_finalizer_has_lost_comes_again() -> None:
    """Python itself drops what is raised there, so the provider gets another one, and is judged by that."""
    before = signal.getsignal(signal.SIGALRM)
    ended = []

    def lose(seconds: float) -> None:
        Slow()
        time.sleep(seconds)
        ended.append(seconds)

    try:
        interrupted(lambda: lose(60.0), 60.0)
        interrupted(lambda: lose(0.0), 60.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert 60.0 not in ended


def swallow() -> None:
    """Ctrl-C comes, and is ignored."""
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda *_: None)


class Modest(FakeProvider):
    """Claims nothing."""

    @property
    def info(self) -> ProviderInfo:
        """Only a name."""
        return ProviderInfo(name="modest", version="1.0")


def test_what_is_not_claimed_is_skipped() -> None:
    """A provider without capabilities passes, and is told which tests did not apply."""
    found = list(examine(type("Suite", (FakeSuite,), {"made": Modest})))
    skipped = {finding.check: finding.why for finding in found if finding.outcome == "skipped"}
    assert set(skipped) == set(ONLY_WITH)
    assert skipped["test_images"] == "modest does not claim the capability 'images'"
    assert [finding for finding in found if finding.outcome == "failed"] == []


class Thorough(FakeProvider):
    """Measures more than it must, as one does that leaves a template."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """As usual, and a phase more."""
        super().create(spec, place, stopwatch, timeout)
        with stopwatch.phase(Phase.TEMPLATE):
            pass


def test_more_phases_are_no_fault() -> None:
    """A provider that measures further phases of a creation passes."""
    found = list(examine(type("Suite", (FakeSuite,), {"made": Thorough})))
    assert [finding for finding in found if finding.outcome == "failed"] == []
