"""Events reach the controller in every kind of run, each once, and in every kind of accident."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
RECORDER = """
    from pytest_kina.fixtures import KEEPER
    from pytest_kina.timing import Phase

    def record(request, **attributes):
        request.config.stash[KEEPER].run.recorder.add(Phase.INSTALL, 0.25, **attributes)
"""


def _rows(result: pytest.RunResult) -> dict[str, list[str]]:
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.outlines if line.startswith("  ")]
    return {cells[0]: cells[1:] for cells in lines if len(cells) >= 5}


def _counted_once(home: Any) -> None:
    """Every event that was spooled is in the summary, and nothing is there twice."""
    spooled = [event.id for event in home.events()]
    summarised = [event["id"] for event in home.summary()["events"]]
    assert Counter(summarised) == Counter(spooled)
    assert max(Counter(summarised).values()) == 1


@pytest.mark.usefixtures("four_tests")
@pytest.mark.parametrize(
    ("arguments", "processes", "tests"),
    [
        ((), 1, 4),
        (("-p", "no:xdist"), 1, 4),
        (("-n", "0"), 1, 4),
        (("-n", "2"), 2, 4),
        (("--dist", "each", "--tx", "2*popen"), 2, 8),
        (("-n", "2", "--dist", "loadscope"), 1, 4),
    ],
    ids=["plain", "no:xdist", "n0", "n2", "each", "loadscope"],
)
def test_all_events_are_shown_once(run: Run, home: Any, arguments: tuple[str, ...], processes: int, tests: int) -> None:
    """One cluster is created whatever the distribution, and each process's leases are counted once."""
    result = run(*arguments)
    result.assert_outcomes(passed=tests)
    result.stdout.fnmatch_lines(["*= kina timings =*", "fake 1.0, Kubernetes v1.36.3, workloads, 1 node", "summary: *"])
    rows = _rows(result)
    assert [rows[phase][1] for phase in ("create", "startup", "kubectl_ready", "ready")] == ["1"] * 4
    assert {event.worker for event in home.events() if event.phase == "lease_wait"} >= {
        event.worker for event in home.events() if event.phase == "create"
    }
    assert len({event.worker for event in home.events() if event.phase == "lease_wait"}) == processes
    assert home.summary()["complete"] is True
    _counted_once(home)


def test_a_run_without_clusters_says_and_leaves_nothing(run: Run, home: Any, pytester: pytest.Pytester) -> None:
    """No section, no directory: the plugin is quiet where it is not used."""
    pytester.makepyfile("def test_it(): pass")
    result = run("-n", "2")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*kina timings*")
    assert not home.path.exists()


@pytest.mark.usefixtures("four_tests")
def test_an_event_names_its_test_and_preparation_names_none(run: Run, home: Any) -> None:
    """The wait for a lease belongs to the first test; obtaining binaries belongs to no test."""
    run("-n", "2")
    by_phase = {event["phase"]: event["nodeid"] for event in home.summary()["events"]}
    assert by_phase["binaries"] == ""
    assert all(re.fullmatch(r"test_.*\.py::test_it\[\d\]", by_phase[phase]) for phase in ("create", "lease_wait"))


def test_the_deletion_at_the_end_of_a_run_that_keeps_nothing_is_in_its_table(
    run: Run, home: Any, four_tests: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CI set the controller deletes after its workers have left, and that is timed in the same run."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("KINA_GATE_BUDGET", "0")  # in CI the gate would make further clusters
    assert _rows(run("-n", "2"))["delete"][1] == "1"
    _counted_once(home)


def test_a_worker_that_dies_loses_no_event_that_it_spooled(run: Run, home: Any, pytester: pytest.Pytester) -> None:
    """Events recorded just before os._exit are in the table, and the run is called incomplete."""
    pytester.makepyfile(
        RECORDER
        + """
    import os

    def test_dies(kina_cluster, request):
        record(request, cluster="spooled")
        os._exit(1)
    """
    )
    result = run("-n", "1")
    assert _rows(result)["install"][1] == "1"
    result.stdout.fnmatch_lines(["incomplete, events may be missing: xdist worker gw0 ended early*"])
    assert home.summary()["complete"] is False
    assert "gw0" in home.summary()["incomplete"][0]
    _counted_once(home)


def test_without_a_spool_the_events_of_a_worker_still_arrive(run: Run, home: Any, pytester: pytest.Pytester) -> None:
    """A worker on another host has no spool in common: reports and its last message carry everything."""
    pytester.makeconftest(
        RECORDER
        + """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(session):
        run = session.config.stash[KEEPER].run
        if hasattr(session.config, "workerinput"):
            run.recorder.add(Phase.DELETE, 0.5)  # after the last report
            (run.directory / f"{run.worker}.jsonl").unlink()
    """
    )
    pytester.makepyfile("def test_it(kina_cluster): pass")
    rows = _rows(run("-n", "1"))
    assert rows["create"][1] == "1"
    assert rows["delete"][1] == "1"


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["plain", "n1"])
def test_an_interrupted_run_shows_what_it_has_and_says_that_more_may_be_missing(
    run: Run, home: Any, pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    """Ctrl-C in a test: the events so far are there, with the remark."""
    pytester.makepyfile(
        """
    def test_a(kina_cluster): pass
    def test_b(kina_cluster): raise KeyboardInterrupt
    """
    )
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert _rows(result)["create"][1] == "1"
    result.stdout.fnmatch_lines(["incomplete, events may be missing: *"])
    assert home.summary()["complete"] is False


def test_a_path_in_an_event_does_not_end_the_xdist_session(run: Run, pytester: pytest.Pytester) -> None:
    """Only builtin types travel, whatever an attribute holds."""
    pytester.makepyfile(
        RECORDER
        + """
    from pathlib import Path
    import pytest

    def test_it(kina_cluster, request):
        with pytest.raises(TypeError):
            record(request, cluster=Path("a/b"))
    """
    )
    result = run("-n", "1")
    result.assert_outcomes(passed=1)
    assert _rows(result)["install"][1] == "1"


def test_a_failed_phase_is_counted_as_failed(
    run: Run, home: Any, four_tests: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation that fails has no duration in the table, but a number in the last column."""
    orders = tmp_path / "orders.json"
    orders.write_text('{"failures": {"create": "boom"}}')
    monkeypatch.setenv("KINA_FAKE", str(orders))
    result = run()
    failed = sum(event.phase == "create" and not event.ok for event in home.events())
    assert failed >= 1
    assert _rows(result)["create"][1:] == ["0", "-", "-", "-", str(failed)]


@pytest.mark.usefixtures("four_tests")
def test_a_later_deletion_is_shown_by_the_next_run_and_only_by_that(run: Run, home: Any) -> None:
    """An idle helper deletes after the run; the next run says so, once, and does not count it as its own."""
    run("--kina-ttl=1ms")
    (record,) = [json.loads(path.read_text()) for path in home.path.glob("slots/*.json")]
    helper = [sys.executable, "-P", "-m", "pytest_kina._tidy", "--root", str(home.path), "--slot", "0"]
    subprocess.run([*helper, "--cluster", record["cluster"]], check=True, stdout=subprocess.DEVNULL)
    second = run()
    second.stdout.fnmatch_lines(
        ["after earlier runs had ended:", "fake 1.0, *", "  phase *", "  delete *", "summary: *"]
    )
    assert [(event["phase"], event["cluster"]) for event in _summary_of(second)["late"]] == [
        ("delete", record["cluster"])
    ]
    assert "delete" not in {event["phase"] for event in _summary_of(second)["events"]}
    run().stdout.no_fnmatch_line("*after earlier runs*")


def _summary_of(result: pytest.RunResult) -> dict[str, Any]:
    (path,) = [line.removeprefix("summary: ") for line in result.outlines if line.startswith("summary: ")]
    document: dict[str, Any] = json.loads(Path(path).read_text())
    return document
