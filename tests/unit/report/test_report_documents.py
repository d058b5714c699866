"""The documents for programs, and what they say about machine and commit."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.errors import SettingsError
from pytest_kina.report.benchmark_json import check_writable, document, write_benchmarks
from pytest_kina.report.machine import commit_info, machine_info, memory_bytes
from pytest_kina.report.summary import RunTimings, summary, write_summary
from pytest_kina.timing import Phase, TimingEvent

Make = Callable[..., TimingEvent]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with one commit and one file."""
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    for line in ("init -q -b trunk .", "add file", "-c user.name=a -c user.email=a@b commit -q -m first"):
        (tmp_path / "file").write_text("one")
        subprocess.run(["git", *line.split()], cwd=tmp_path, env=home, check=True)
    return tmp_path


def test_the_summary_has_schema_series_events_and_late_events(make: Make, tmp_path: Path) -> None:
    """A program finds figures per series, every event, and what earlier runs left, in one file."""
    events, late = [make(seconds=1.0), make(seconds=3.0)], [make(Phase.DELETE)]
    path = write_summary(tmp_path, RunTimings(run="r", events=events, late=late))
    written = json.loads(path.read_text())
    assert path == tmp_path / "summary.json"
    assert (written["schema"], written["run"], written["complete"]) == (1, "r", True)
    assert [event["id"] for event in written["events"]] == [event.id for event in events]
    assert [event["phase"] for event in written["late"]] == ["delete"]
    (series,) = written["series"]
    assert series["name"] == "kina::create[embedded-k8s1.36-workloads-n1-fresh-c1]"
    assert (series["stats"]["median"], series["stats"]["data"], series["failures"]) == (2.0, [1.0, 3.0], 0)


def test_a_series_of_failures_has_no_statistics(make: Make) -> None:
    """Nothing was measured, so there are no figures, and the failures are counted."""
    (series,) = summary(RunTimings(run="r", events=[make(ok=False), make(ok=False)]))["series"]
    assert (series["stats"], series["failures"]) == (None, 2)


def test_an_incomplete_run_says_why_in_both_documents(make: Make, tmp_path: Path) -> None:
    """Whoever compares runs must know that events may be missing."""
    timings = RunTimings(run="r", events=[make()], incomplete=["the run was interrupted"])
    for part in (summary(timings), document(timings, tmp_path)["kina"]):
        assert (part["complete"], part["incomplete"]) == (False, ["the run was interrupted"])


def test_benchmarks_leave_out_what_only_failed_but_name_it(make: Make, tmp_path: Path) -> None:
    """A benchmark without samples would break the readers; the failures are under ``kina``."""
    events = [make(), make(Phase.RESET, ok=False)]
    written = document(RunTimings(run="r", events=events), tmp_path)
    assert [row["params"]["phase"] for row in written["benchmarks"]] == ["create"]
    assert written["kina"]["failures"] == {"kina::reset[embedded-k8s1.36-workloads-n1-fresh-c1]": 1}


def test_benchmarks_replace_the_file_as_a_whole(make: Make, tmp_path: Path) -> None:
    """The file is never half written, and readable for others as the umask allows."""
    path = tmp_path / "b.json"
    path.write_text("old" * 100_000)
    write_benchmarks(path, RunTimings(run="r", events=[make()]), tmp_path)
    assert json.loads(path.read_text())["version"] == "5.3.1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize("target", ["no/such/folder.json", "."])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, target: str) -> None:
    """The error has the option, the path and the next step."""
    with pytest.raises(SettingsError, match=r"--kina-bench-json: .* cannot be written") as caught:
        check_writable(tmp_path / target)
    assert caught.value.next_step


def test_checking_leaves_nothing(tmp_path: Path) -> None:
    """The probe is removed, the file not made."""
    check_writable(tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []


def test_the_commit_is_that_of_the_checkout(checkout: Path) -> None:
    """Id, times and branch come from git; an unchanged checkout is not dirty."""
    info = commit_info(checkout)
    assert len(info["id"]) == 40
    assert (info["branch"], info["dirty"], info["project"]) == ("trunk", False, checkout.name)
    assert info["time"] == info["author_time"]
    assert "error" not in info


def test_a_changed_checkout_is_dirty(checkout: Path) -> None:
    """A tracked file that differs counts, a new one does not."""
    (checkout / "new").touch()
    assert commit_info(checkout)["dirty"] is False
    (checkout / "file").write_text("two")
    assert commit_info(checkout)["dirty"] is True


def test_a_detached_head_is_called_so(checkout: Path) -> None:
    """The branch of a CI checkout has pytest-benchmark's words."""
    subprocess.run(["git", "-C", str(checkout), "checkout", "-q", "--detach"], check=True)
    assert commit_info(checkout)["branch"] == "(detached head)"


def test_without_a_checkout_the_commit_is_unversioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, and no git at all: the reason is kept, and nothing fails."""
    assert commit_info(tmp_path)["id"] == "unversioned"
    assert "not a git repository" in commit_info(tmp_path)["error"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "could not be started" in commit_info(tmp_path)["error"]


def test_the_machine_is_described_in_plain_json() -> None:
    """The keys that dashboards group by have values, and the document survives JSON unchanged."""
    info = machine_info()
    assert json.loads(json.dumps(info)) == info
    assert info["cpu"]["count"] == os.cpu_count()
    assert all(info[key] for key in ("node", "machine", "system", "python_version"))
    assert memory_bytes() > 2**20
