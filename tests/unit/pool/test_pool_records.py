"""Records and status: what is on disk, and what a person is told about it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.files import NewerSchema, Torn
from pytest_kina.pool import records
from pytest_kina.pool.records import Note, Record, State
from pytest_kina.pool.status import stopped
from tests.support.pool_kit import Kit

RECORD = Record(
    state=State.SHARED,
    cluster="kina-abcdef-3-01234567",
    provider="embedded",
    fingerprint="f" * 16,
    run="r" * 16,
    users=("run.1.aa", "run.2.bb"),
    attempts=1,
    uses=7,
    ttl=900.0,
    idle_since=12.5,
    last_error="once",
    note=Note(doing="using", pid=1, worker="gw0", test="t.py::t", since=3.0),
)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Every field survives the disk; the file is private; a removed record is an empty slot."""
    records.write(tmp_path, 3, RECORD)
    assert records.read(tmp_path, 3) == records.peek(tmp_path, 3) == RECORD
    assert stat.S_IMODE((tmp_path / "3.json").stat().st_mode) == 0o600
    assert records.numbers(tmp_path) == [3]
    records.remove(tmp_path, 3)
    assert records.read(tmp_path, 3) is None
    assert list(tmp_path.iterdir()) == []


def test_unknown_keys_are_ignored() -> None:
    """A record with more keys, as a later version of the same schema may write, is understood."""
    document = RECORD.to_json() | {"colour": "blue"}
    document["note"]["mood"] = "good"
    assert Record.from_json(document) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"state": "PINK"},
        {"cluster": "../../etc"},
        {"cluster": "kina-/etc"},
        {"cluster": 7},
        {"users": [7]},
        {"users": None},
        {"attempts": "many"},
        {"ttl": -1},
        {"note": 3},
        {"run": None},
    ],
)
def test_a_malformed_record_is_never_acted_on(tmp_path: Path, change: dict[str, object]) -> None:
    """A field of a wrong type makes it torn: moved aside under the lock, invisible without it."""
    records.write(tmp_path, 0, RECORD)
    document = {"schema": 1} | RECORD.to_json() | change
    records.write_json(records.record_path(tmp_path, 0), 1, document)
    assert records.peek(tmp_path, 0) is None
    with pytest.raises(Torn):
        records.read(tmp_path, 0)
    assert records.read(tmp_path, 0) is None
    assert len(list(tmp_path.glob("0.json.torn-*"))) == 1


def test_a_newer_record_is_not_read(tmp_path: Path) -> None:
    """A later schema is an error for the holder, and nothing for who only looks."""
    records.write_json(records.record_path(tmp_path, 0), 2, RECORD.to_json())
    assert records.peek(tmp_path, 0) is None
    with pytest.raises(NewerSchema):
        records.read(tmp_path, 0)


class TestLooking:
    """Looks without the lock: of every slot, at every lease."""

    @pytest.fixture(autouse=True)
    def settles_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files count as old after 20 ms already."""
        monkeypatch.setattr(records, "_SETTLED", 0.02)

    def test_what_has_not_changed_is_not_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An old file is read once, however often somebody looks."""
        records.write(tmp_path, 0, RECORD)
        time.sleep(0.05)
        assert records.survey(tmp_path) == {0: RECORD}
        monkeypatch.setattr(records, "peek_json", lambda *_: pytest.fail("it was read again"))
        assert records.peek(tmp_path, 0) == RECORD

    def test_what_has_just_changed_is_read_each_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A young file may be written again within one tick of the file system's clock, and is never remembered."""
        monkeypatch.setattr(records, "_SETTLED", 60.0)
        read: list[object] = []
        monkeypatch.setattr(records, "peek_json", lambda *asked: read.append(asked))
        records.write(tmp_path, 0, RECORD)
        for _ in range(3):
            records.peek(tmp_path, 0)
        assert len(read) == 3

    def test_a_change_is_seen_at_once(self, tmp_path: Path) -> None:
        """Also one that leaves size and modification time as they were; and a record that is gone is gone."""
        for uses in (1, 2, 3):
            records.write(tmp_path, 0, replace(RECORD, uses=uses))
            os.utime(records.record_path(tmp_path, 0), (1.0, 1.0))
            time.sleep(0.05)
            assert [records.peek(tmp_path, 0) for _ in range(2)] == [replace(RECORD, uses=uses)] * 2
        records.remove(tmp_path, 0)
        assert records.peek(tmp_path, 0) is None
        assert records.survey(tmp_path) == {}

    def test_a_malformed_file_is_mended(self, tmp_path: Path) -> None:
        """That a file was of no use is forgotten when there is another."""
        records.record_path(tmp_path, 0).write_text("{}")
        time.sleep(0.05)
        assert [records.peek(tmp_path, 0) for _ in range(2)] == [None, None]
        records.write(tmp_path, 0, RECORD)
        assert records.peek(tmp_path, 0) == RECORD


def test_a_removed_pool_has_no_slots(tmp_path: Path) -> None:
    """Where the directory has gone there is nothing to see, and no error."""
    assert records.numbers(tmp_path / "gone") == []


def test_idleness_is_counted_from_the_note_or_the_file(tmp_path: Path) -> None:
    """``idle_since`` decides, else the file's time; a clock that was set back gives zero, never a negative time."""
    records.write(tmp_path, 0, RECORD)
    os.utime(records.record_path(tmp_path, 0), (time.time() - 50, time.time() - 50))
    undated, ahead = replace(RECORD, idle_since=None), replace(RECORD, idle_since=time.time() + 3600)
    assert records.idle_seconds(tmp_path, 0, replace(RECORD, idle_since=time.time() - 7)) == pytest.approx(7, abs=2)
    assert records.idle_seconds(tmp_path, 0, undated) == pytest.approx(50, abs=2)
    assert records.idle_seconds(tmp_path, 0, ahead) == 0.0
    assert records.idle_seconds(tmp_path, 1, undated) == 0.0


def test_status_tells_one_line_per_slot(tmp_path: Path) -> None:
    """The line names the state, whether it is held, the cluster, who did what, the sharers and the last error."""
    kit = Kit(tmp_path / "root")
    kit.put(0, RECORD)
    kit.put(5, replace(RECORD, state=State.QUARANTINED, users=()))
    lines = [each.sentence() for each in kit.pool.status()]
    assert [line.split(";")[0] for line in lines] == [
        "slot 0: SHARED, free",
        "slot 1: EMPTY, free",
        "slot 5: QUARANTINED, free",
    ]
    assert lines[0].split("; ")[1] == RECORD.cluster
    assert "by process 1 (gw0) for t.py::t" in lines[0]
    assert "shared by process 1, process 2" in lines[0]
    assert lines[0].endswith("last error: once")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells in /proc")
def test_a_stopped_process_is_recognised() -> None:
    """A process that waits is not stopped, one that was stopped is, and one that is gone is not."""
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    assert not stopped(os.getpid())
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        assert stopped(process.pid)
        process.kill()
    assert not stopped(process.pid)
