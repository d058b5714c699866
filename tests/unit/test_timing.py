"""Timing events and their recorder."""

import json
from pathlib import Path

import pytest

from pytest_kina.timing import Phase, TimingEvent, TimingRecorder, read_spool


@pytest.fixture
def recorder(tmp_path: Path) -> TimingRecorder:
    """A recorder with a spool."""
    return TimingRecorder(run="r1", worker="gw0", spool=tmp_path / "gw0.jsonl")


def test_event_survives_json() -> None:
    """An event is the same after a trip over the wire, and made of plain JSON types."""
    event = TimingEvent(id="a", run="r", phase=Phase.CREATE, seconds=1.5, nodes=3, start="template")
    assert TimingEvent.from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -0.1])
def test_only_durations_are_recorded(recorder: TimingRecorder, seconds: float) -> None:
    """A value that is no duration is refused at the source, not carried to the report."""
    with pytest.raises(ValueError, match="not a duration"):
        recorder.add(Phase.CREATE, seconds)
    assert recorder.drain() == []


@pytest.mark.parametrize(
    "document", [{}, {"id": "a", "run": "r", "phase": "boot", "seconds": 1}, {"phase": "create", "seconds": "x"}]
)
def test_foreign_events_are_refused(document: dict[str, object]) -> None:
    """What is not an event of ours raises, with a reason."""
    with pytest.raises(ValueError, match=r".+"):
        TimingEvent.from_json(document)


def test_phase_measures_its_block(recorder: TimingRecorder) -> None:
    """A block becomes one event with the attributes of its stopwatch and the test that ran."""
    recorder.nodeid = "test_a.py::test_x"
    with recorder.bind(provider="embedded").bind(cluster="c1").phase(Phase.STARTUP, nodes=2):
        pass
    (event,) = recorder.drain()
    assert (event.phase, event.ok, event.provider, event.cluster, event.nodes) == ("startup", True, "embedded", "c1", 2)
    assert (event.run, event.worker, event.nodeid) == ("r1", "gw0", "test_a.py::test_x")
    assert event.seconds >= 0
    assert recorder.drain() == []


def test_failed_phase_is_recorded_as_such(recorder: TimingRecorder) -> None:
    """A block that raises is an event that is not ok, names the error, and still raises."""
    with pytest.raises(KeyError), recorder.bind().phase(Phase.CREATE):
        raise KeyError("x")
    (event,) = recorder.drain()
    assert (event.ok, event.error) == (False, "KeyError")


def test_spool_has_every_event_and_survives_a_torn_line(recorder: TimingRecorder, tmp_path: Path) -> None:
    """Readers of the spool get whole events only: a process killed while writing costs its last line."""
    first = recorder.add(Phase.CREATE, 1.0)
    second = recorder.add(Phase.DELETE, 2.0)
    spool = tmp_path / "gw0.jsonl"
    newer = json.dumps(first.to_json() | {"schema": 99, "id": "later"})
    with spool.open("a") as stream:
        stream.write(newer + "\n" + '[]\n{"id": "torn", "ph')
    assert read_spool(spool) == [first, second]
    assert read_spool(tmp_path / "missing.jsonl") == []


def test_ids_are_unique_between_recorders(tmp_path: Path) -> None:
    """Two events never share an id, so that copies of one event can be told from two events."""
    one, two = (TimingRecorder(run="r", worker=worker) for worker in ("gw0", "gw1"))
    ids = [recorder.add(Phase.CREATE, 0.0).id for recorder in (one, two) for _ in range(3)]
    assert len(set(ids)) == 6


@pytest.mark.parametrize("spool", ["/dev/full", "/nowhere/gw0.jsonl"])
def test_a_spool_that_cannot_be_written_spoils_nothing(spool: str) -> None:
    """What was measured has happened: a full disk or a removed run directory costs the copy on disk only."""
    recorder = TimingRecorder(run="r1", worker="gw0", spool=Path(spool))
    with recorder.bind().phase(Phase.DELETE):
        pass
    assert [event.phase for event in recorder.drain()] == [Phase.DELETE]
