"""The store: what is written, what is read back, and what bad files do."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.errors import StateError
from pytest_kina.gate import Judgement, Promotion, Rules, accept, judge, load, measured, read_document, save
from tests.support.gate_runs import MACHINE, around, document, measurements, name, series, write

ACCEPTED = Promotion(store=True, accepted=True, why="good")
REJECTED = Promotion(store=True, accepted=False, why="bad")


def _save(store: Path, run: str, *seconds: float, decision: Promotion = ACCEPTED, **more: Any) -> Path:
    written = document({"create": seconds or around(1.0)}, run=run, **more)
    found = measured(written, place="it")
    return save(store, written, judge(found, load(store, found.machine), Rules()), decision)


def test_a_missing_store_is_an_empty_history(tmp_path: Path) -> None:
    """The first run finds nothing, and that is no problem."""
    found = load(tmp_path / "no" / "such", MACHINE)
    assert (found.runs, found.problems, found.others) == ((), (), ())


def test_files_are_numbered_and_named_after_commit_and_time(tmp_path: Path) -> None:
    """Each run is one file below the machine's key."""
    first, second = _save(tmp_path, "a"), _save(tmp_path, "b")
    assert first.parent == tmp_path / MACHINE
    assert first.name.startswith("0001_0123456789ab_2")
    assert second.name.startswith("0002_")
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name, second.name]


def test_a_stored_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Samples, commit, verdict: nothing is lost but the events, which only the report needs."""
    path = _save(tmp_path, "a", 1.0, 2.0, 3.0, events=[{"id": 1}])
    (run,) = load(tmp_path, MACHINE).runs
    assert (run.number, run.accepted, run.path) == (1, True, path)
    assert run.measurements == measured(document({"create": (1.0, 2.0, 3.0)}, run="a"), place="it")
    kina = read_document(path)["kina"]
    assert "events" not in kina
    assert (kina["gate"]["accepted"], kina["gate"]["why"]) == (True, "good")
    assert kina["gate"]["verdicts"][0]["name"] == "NEW"


def test_stored_runs_are_read_by_pytest_benchmark(tmp_path: Path) -> None:
    """The store is a storage of pytest-benchmark, too: its compare command shows all columns."""
    from pytest_kina.process import run_command

    for run in ("a", "b"):
        _save(tmp_path, run)
    argv = [
        sys.executable,
        "-m",
        "pytest_benchmark",
        f"--storage=file://{tmp_path}",
        "compare",
        f"{MACHINE}/*",
        "--columns=min,median,iqr,ops,rounds",
    ]
    shown = run_command(argv, timeout=60, cwd=tmp_path).stdout
    assert "kina.create[embedded-k8s1.36-api-n0-fresh-c1]" in shown
    assert "0001_" in shown
    assert "0002_" in shown


def test_rejected_runs_are_kept_and_no_baseline(tmp_path: Path) -> None:
    """A regressed run stays visible and does not become what later runs are compared with."""
    _save(tmp_path, "a")
    _save(tmp_path, "b", *around(3.0), decision=REJECTED)
    found = load(tmp_path, MACHINE)
    assert [run.accepted for run in found.runs] == [True, False]
    assert [one.seconds for one in found.baseline(series("create"), 10)] == [around(1.0)]


def test_writers_at_the_same_time_get_different_numbers(tmp_path: Path) -> None:
    """Jobs that share a store do not overwrite each other, and leave no claims behind."""
    barrier = threading.Barrier(8)
    errors: list[BaseException] = []

    def one(number: int) -> None:
        barrier.wait()
        try:
            for again in range(3):
                _save(tmp_path, f"{number}-{again}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = load(tmp_path, MACHINE)
    assert errors == []
    assert [run.number for run in found.runs] == list(range(1, 25))
    assert found.problems == ()
    assert len(list((tmp_path / MACHINE).iterdir())) == 24


def test_a_claim_of_a_dead_writer_costs_its_number_only(tmp_path: Path) -> None:
    """What a killed process left is skipped."""
    _save(tmp_path, "a")
    (tmp_path / MACHINE / ".0002.claim").touch()
    assert _save(tmp_path, "b").name.startswith("0003_")


def test_order_is_by_number_past_9999_and_with_a_clock_going_backwards(tmp_path: Path) -> None:
    """Neither a fifth digit nor a wrong clock moves a run."""
    for file, run in (("9999_a_20300101T000000Z", "old"), ("10000_a_20200101T000000Z", "new")):
        written = document({"create": around(1.0)}, run=run, gate={"accepted": True})
        write(tmp_path / MACHINE / f"{file}.json", written)
    assert [run.measurements.run for run in load(tmp_path, MACHINE).runs] == ["old", "new"]
    assert _save(tmp_path, "next").name.startswith("10001_")


BAD = {
    "truncated": ('{"kina": {"sch', "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "not JSON": ("\x00\xff", "not valid JSON"),
    "no object": ("[1]", "expected a JSON object, found list"),
    "foreign": ('{"benchmarks": [], "version": "5.3.1"}', "no timings of pytest-kina"),
    "future": ('{"benchmarks": [], "kina": {"schema": 99}}', "has schema 99"),
    "not gated": (json.dumps(document({"create": (1.0,)})), "was not written by the gate"),
    "NaN": (
        json.dumps(document({"create": (1.0,)}, gate={"accepted": True})).replace("[1.0]", "[NaN]"),
        "no duration: nan",
    ),
    "negative": (
        json.dumps(document({"create": (1.0,)}, gate={"accepted": True})).replace("[1.0]", "[-1.0]"),
        "no duration: -1.0",
    ),
    "other machine": (json.dumps(document({}, machine="other", gate={"accepted": True})), "machine 'other'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_left_alone_and_loses_no_other(tmp_path: Path, kind: str) -> None:
    """Whatever is in the store, the good runs count, the bad file stays, and a sentence names it."""
    content, what = BAD[kind]
    _save(tmp_path, "a")
    bad = tmp_path / MACHINE / "0002_bad_x.json"
    bad.write_text(content)
    _save(tmp_path, "c")
    found = load(tmp_path, MACHINE)
    assert [run.number for run in found.runs] == [1, 3]
    (problem,) = found.problems
    assert str(bad) in problem
    assert what in problem
    assert bad.read_text() == content


def test_the_same_run_twice_counts_once(tmp_path: Path) -> None:
    """A file that was copied does not weigh double."""
    path = _save(tmp_path, "a")
    path.with_name("0007_copy_x.json").write_bytes(path.read_bytes())
    found = load(tmp_path, MACHINE)
    assert [run.number for run in found.runs] == [1]
    assert "0007_copy_x.json holds the same run as" in found.problems[0]


def test_a_directory_in_place_of_a_file_is_a_problem_only(tmp_path: Path) -> None:
    """What cannot be read is said."""
    (tmp_path / MACHINE / "0001_a_b.json").mkdir(parents=True)
    assert "cannot be read" in load(tmp_path, MACHINE).problems[0]


def test_a_file_in_place_of_the_machine_is_said(tmp_path: Path) -> None:
    """A store that is no directory is no silent pass."""
    (tmp_path / MACHINE).write_text("")
    assert "cannot be read" in load(tmp_path, MACHINE).problems[0]


def test_other_machines_are_known_by_name(tmp_path: Path) -> None:
    """The history says for which machines it has runs."""
    _save(tmp_path, "a", machine="other")
    (tmp_path / "notes").mkdir()
    assert load(tmp_path, MACHINE).others == ("other",)


def test_a_store_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Saving fails loudly."""
    store = tmp_path / "file"
    store.write_text("")
    with pytest.raises(StateError, match=r"file.*cannot be written.*\n.*name a directory"):
        _save(store, "a")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim goes, and so does the temporary file."""
    _save(tmp_path, "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StateError, match="No space left"):
            _save(tmp_path, "b")
    assert len(list((tmp_path / MACHINE).iterdir())) == 1
    assert _save(tmp_path, "c").name.startswith("0002_")


@pytest.mark.parametrize("what", ["create", "all", name("create")])
def test_accepting_begins_a_new_baseline_and_keeps_the_old_runs(tmp_path: Path, what: str) -> None:
    """After the marker only newer runs count, and the reason is found."""
    _save(tmp_path, "a")
    marker = accept(tmp_path, MACHINE, what, "etcd on another disk")
    assert marker.name.startswith("0002_")
    _save(tmp_path, "c", *around(2.0))
    found = load(tmp_path, MACHINE)
    assert len(found.runs) == 2
    assert [one.seconds for one in found.baseline(series("create"), 10)] == [around(2.0)]
    epoch = found.epoch(name("create"))
    assert epoch is not None
    assert (epoch.number, epoch.reason) == (2, "etcd on another disk")


def test_after_accepting_a_series_is_new_with_the_reason(tmp_path: Path) -> None:
    """The verdict explains why there is no baseline."""
    _save(tmp_path, "a")
    accept(tmp_path, MACHINE, "create", "on purpose")
    (verdict,) = judge(measurements(series("create")), load(tmp_path, MACHINE), Rules()).verdicts
    assert verdict.name == "NEW"
    assert "'on purpose' was accepted at 0002" in verdict.reason


def test_accepting_what_is_not_there_names_what_is(tmp_path: Path) -> None:
    """A typing error does not write a marker."""
    _save(tmp_path, "a")
    with pytest.raises(StateError, match=r"no series 'craete'; known are:\n  kina::create"):
        accept(tmp_path, MACHINE, "craete", "x")
    assert len(list((tmp_path / MACHINE).iterdir())) == 1


@pytest.mark.parametrize("content", ["{", '{"schema": 9, "series": []}', '{"schema": 1}'])
def test_a_bad_marker_is_a_problem_only(tmp_path: Path, content: str) -> None:
    """A marker that is not understood is said and ignored."""
    _save(tmp_path, "a")
    (tmp_path / MACHINE / "0002_x.epoch").write_text(content)
    found = load(tmp_path, MACHINE)
    assert (len(found.runs), len(found.epochs), len(found.problems)) == (1, 0, 1)


def test_ten_runs_and_a_doubling(tmp_path: Path) -> None:
    """The whole way over real files: ten runs are stored, the eleventh regresses."""
    for at in range(10):
        _save(tmp_path, f"run {at}", *around(1 + at / 100))
    judgement: Judgement = judge(measurements(series("create", *around(2.1))), load(tmp_path, MACHINE), Rules())
    assert judgement.candidates == (name("create"),)
