"""Clusters that are made only to be measured, and how busy the machine counts as meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina.cycles import cycle, measure_apart
from pytest_kina.marks import ClusterRequest
from pytest_kina.run import Run
from pytest_kina.settings import Project, resolve
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.timing import Phase, TimingEvent
from pytest_kina.waiting import Deadline

SPEC = ClusterSpec()
LONG = 60.0


def _run(root: Path) -> Run:
    flags: dict[str, str | None] = {"provider": "pytest_kina.testing:FakeProvider", "pool_size": "3", "home": str(root)}
    settings = resolve(flags=flags, environ={}, project=Project())
    return Run(settings, worker="main")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run that keeps clusters warm and has not done anything."""
    made = _run(tmp_path / "home")
    yield made
    made.close()


def _order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **orders: object) -> None:
    path = tmp_path / "fake.json"
    path.write_text(json.dumps(orders))
    monkeypatch.setenv("KINA_FAKE", str(path))


def _events(run: Run) -> list[TimingEvent]:
    assert run.recorder is not None
    return run.recorder.drain()


def _clusters(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "home" / "clusters").iterdir())


def test_each_cycle_is_a_fresh_cluster_that_is_gone_afterwards(run: Run, tmp_path: Path) -> None:
    """Every phase from creation to deletion once per cycle, alone on the machine, and nothing is left."""
    done = cycle(run, SPEC, 3, Deadline(LONG), fresh=False)
    assert (done.done, done.ended) == (3, "")
    events = _events(run)
    for phase in (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY, Phase.DELETE):
        assert len([event for event in events if event.phase is phase and event.ok]) == 3
    assert len({event.cluster for event in events if event.phase is Phase.CREATE}) == 3
    assert {event.concurrency for event in events if event.phase is not Phase.BINARIES} == {1}
    assert _clusters(tmp_path) == []


def test_what_the_run_left_goes_first(run: Run, tmp_path: Path) -> None:
    """A warm cluster of this run would count as one in use."""
    run.lease(ClusterRequest(clusters=(("", SPEC),)), note="a test").give_back()
    assert len(_clusters(tmp_path)) == 1
    assert cycle(run, SPEC, 1, Deadline(LONG), fresh=False).done == 1
    assert _clusters(tmp_path) == []


def test_time_that_is_up_begins_nothing(run: Run) -> None:
    """No budget, no cluster; and none is begun that would not end in time."""
    assert cycle(run, SPEC, 3, Deadline(0.0), fresh=False).done == 0
    assert not run.used


def test_a_cycle_that_would_not_end_in_time_is_not_begun(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest one so far tells how long the next one takes."""
    _order(tmp_path, monkeypatch, delays={"create": 0.3})
    done = cycle(run, SPEC, 50, Deadline(1.0), fresh=False)
    assert 1 <= done.done <= 3
    assert done.ended == "the time for measuring was up"
    assert done.seconds < 1.6


def test_an_error_ends_the_cycles_with_its_reason(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been measured stays, the failed attempt is no sample, and the half made cluster is gone."""
    _order(tmp_path, monkeypatch, failures={"create": "no more disks"})
    done = cycle(run, SPEC, 2, Deadline(LONG), fresh=False)
    assert done.done == 0
    assert done.ended.startswith("a cluster could not be made: ")
    assert "no more disks" in done.ended
    assert [event for event in _events(run) if event.phase is Phase.CREATE and event.ok] == []
    run.pool().retire()
    assert _clusters(tmp_path) == []


def test_what_is_measured_again_is_not_part_of_the_run(run: Run, tmp_path: Path) -> None:
    """Its events have another run id, and the run's own spool and recorder know nothing of them."""
    run.pool()
    again = measure_apart(
        run, [(SPEC, False), (ClusterSpec(profile="api", simulated_nodes=0), True)], 2, Deadline(LONG)
    )
    assert len([event for event in again if event.phase is Phase.CREATE]) == 4
    assert run.ticket.run not in {event.run for event in again}
    assert _events(run) == []
    assert _clusters(tmp_path) == []


def test_a_cluster_in_use_makes_the_machine_busy_and_an_idle_one_does_not(tmp_path: Path, run: Run) -> None:
    """Another run's leased cluster counts, whatever its isolation; what it left dirty does not."""
    other = _run(tmp_path / "home")
    for isolation in (Isolation.NAMESPACE, Isolation.EXCLUSIVE, Isolation.FRESH):
        request = ClusterRequest(clusters=(("", SPEC),), isolation=isolation, holder="x" * (isolation != "namespace"))
        loan = other.lease(request, note="somebody else")
        cycle(run, SPEC, 1, Deadline(LONG), fresh=False)
        assert {event.concurrency for event in _events(run) if event.phase is Phase.CREATE} == {2}, isolation
        loan.give_back()
        other.close()
        cycle(run, SPEC, 1, Deadline(LONG), fresh=False)
        assert {event.concurrency for event in _events(run) if event.phase is Phase.CREATE} == {1}, isolation
