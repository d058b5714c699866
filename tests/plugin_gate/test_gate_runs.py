"""The gate at the end of whole runs: enough samples, a second look, the exit status, and what is kept."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_kina.timing import Phase
from tests.plugin_gate.conftest import Project

FAIL = ("--kina-gate=fail", "--kina-ttl=0", "--kina-gate-samples=3", "-p", "no:benchmark")
SLOW = 0.75  # seconds: more than the floor of providers that are not local processes
COMMIT = ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "x")


@pytest.fixture(autouse=True)
def default_branch(project: Project) -> None:
    """The project is a checkout of its default branch."""
    for command in (("init", "-q", "-b", "main"), COMMIT):
        subprocess.run(["git", *command], cwd=project.path, check=True)


@pytest.fixture
def history(project: Project) -> Path:
    """A store with one measured run, five times."""
    assert project.run(*FAIL).ret == 0
    (first,) = project.path.glob(".kina-bench/*/*.json")
    document = json.loads(first.read_text())
    for number in range(2, 6):
        document["kina"]["run"] = f"run{number}"
        first.with_name(f"{number:04d}_abc_x.json").write_text(json.dumps(document))
    return first.parent


def _verdicts(project: Project, name: str = "a.json") -> dict[str, str]:
    return {one["phase"]: one["name"] for one in project.document(name)["kina"]["verdicts"]}


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "n2"])
def test_short_series_are_topped_up(project: Project, arguments: tuple[str, ...]) -> None:
    """One cluster for all tests becomes as many samples as asked for, and nothing of them is left."""
    result = project.run(*FAIL, "--kina-bench-json=a.json", *arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*= kina gate =*", "measured 2 of 2 further clusters in * s"])
    rows = {row["params"]["phase"]: row["stats"]["rounds"] for row in project.document("a.json")["benchmarks"]}
    assert {rows[phase] for phase in ("create", "startup", "kubectl_ready", "ready", "delete")} == {3}
    assert [path for path in (project.home / "clusters").iterdir() if path.is_dir()] == []
    assert list(project.home.glob("slots/*.json")) == []


def test_without_a_budget_nothing_is_added_and_the_gate_says_what_it_cannot_see(project: Project) -> None:
    """Too few samples are TOO-FEW, and mode fail is loud about it."""
    result = project.run(*FAIL, "--kina-gate-budget=0", "--kina-bench-json=a.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gate: TOO FEW samples, a regression of these would pass: kina::create*"])
    assert set(_verdicts(project).values()) == {"TOO-FEW"}
    assert len(project.events(Phase.CREATE)) == 1


def test_the_budget_bounds_the_cycles(project: Project) -> None:
    """When the time is up, the rest is left out, and the run says so."""
    project.order(create=0.3)
    result = project.run(*FAIL, "--kina-gate-budget=1s", "--kina-gate-samples=50")
    result.stdout.fnmatch_lines(["measured * of 49 further clusters in * s; the time for measuring was up"])
    assert 1 < len(project.events(Phase.CREATE)) < 10


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "n2"])
def test_a_regression_fails_the_run_after_a_second_look(project: Project, arguments: tuple[str, ...]) -> None:
    """Exit status 1 although all tests passed, confirmed by clusters that are not in the run's own samples."""
    project.order(create=SLOW)
    result = project.run(*FAIL, "--kina-bench-json=a.json", *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["REGRESSED: kina::create*; confirmed, measured again, 3 samples: *", "gate FAILED: 2 of 5 series: *"]
    )
    assert result.outlines[-2].startswith("gate FAILED")
    verdicts = _verdicts(project)
    assert [phase for phase, name in verdicts.items() if name == "REGRESSED"] == ["create", "ready"]
    data = project.document("a.json")["benchmarks"]
    assert {row["stats"]["rounds"] for row in data if row["params"]["phase"] == "create"} == {3}
    last = project.history()[-1]
    assert last["kina"]["gate"]["accepted"] is False


@pytest.mark.usefixtures("history")
def test_what_the_second_look_does_not_show_does_not_fail(project: Project) -> None:
    """A machine that was slow for a moment is acquitted."""
    project.order(create=SLOW)
    # the run's three clusters are slow; the orders change before those of the second look are made
    project.pytester.makeconftest(
        """
        import json, os
        from pathlib import Path
        from pytest_kina import examination

        original = examination.measure_apart

        def quick(*arguments):
            Path(os.environ["KINA_FAKE"]).write_text(json.dumps({"delays": {}}))
            return original(*arguments)

        examination.measure_apart = quick
        """
    )
    result = project.run(*FAIL, "--kina-bench-json=a.json")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["UNSTABLE: kina::create*; not confirmed, measured again, 3 samples: *"])


@pytest.mark.usefixtures("history")
def test_mode_warn_says_the_same_and_passes(project: Project) -> None:
    """The default shows what would fail."""
    project.order(create=SLOW)
    result = project.run(*FAIL, "--kina-gate=warn", "--kina-gate-budget=1m")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gate would fail (mode warn): 2 of 5 series: *"])


@pytest.mark.usefixtures("history")
def test_mode_off_does_nothing(project: Project) -> None:
    """No section, no cycles, no history."""
    project.order(create=SLOW)
    before = len(project.history())
    result = project.run(*FAIL, "--kina-gate=off")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*kina gate*")
    assert len(project.history()) == before


def test_the_default_leaves_a_project_alone(project: Project) -> None:
    """Without CI, history or failure there is no section, no store and no further cluster."""
    result = project.run("-p", "no:benchmark")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*kina gate*")
    assert not (project.path / ".kina-bench").exists()
    assert len(project.events(Phase.CREATE)) == 1


def test_ci_begins_a_history_and_takes_enough_samples(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set, the default keeps what it measures."""
    monkeypatch.setenv("CI", "true")
    assert project.run("-p", "no:benchmark").ret == 0
    (stored,) = project.history()
    assert stored["kina"]["gate"]["accepted"] is True
    assert {row["stats"]["rounds"] for row in stored["benchmarks"] if row["params"]["phase"] == "create"} == {5}


def test_failed_tests_keep_their_exit_status_and_are_not_stored(project: Project) -> None:
    """A run that is not green costs no further clusters and does not become a baseline."""
    project.pytester.makepyfile("def test_it(kina_cluster): assert 0")
    result = project.run(*FAIL)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["not stored: its tests did not pass"])
    assert project.history() == []
    assert len(project.events(Phase.CREATE)) == 1


def test_an_interrupted_run_is_not_judged(project: Project) -> None:
    """Exit status 2 stays, and the gate says why it says nothing else."""
    project.pytester.makepyfile(
        """
        def test_a(kina_cluster): pass
        def test_b(kina_cluster): raise KeyboardInterrupt
        """
    )
    result = project.run(*FAIL, "--kina-bench-json=a.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*INCOMPLETE*", "note: the run is incomplete, so nothing is judged*interrupted*"])
    assert project.history() == []
    assert project.document("a.json")["kina"]["complete"] is False


def test_a_crashed_worker_makes_the_run_incomplete(project: Project) -> None:
    """A worker that dies takes samples with it: no gate, no baseline."""
    project.pytester.makepyfile(
        """
        import os

        def test_a(kina_cluster): pass
        def test_b(kina_cluster): os._exit(1)
        """
    )
    result = project.run(*FAIL, "-n", "1", "--max-worker-restart=0")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["note: the run is incomplete*"])
    assert project.history() == []


def test_no_baseline_fails_only_when_it_is_required(project: Project) -> None:
    """The first run is NEW and passes, or with --kina-require-baseline it fails."""
    result = project.run(*FAIL, "--kina-require-baseline", "--kina-bench-json=a.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert set(_verdicts(project).values()) == {"NEW"}
    assert project.run(*FAIL).ret == 0


@pytest.mark.usefixtures("history")
def test_a_selection_misses_nothing(project: Project) -> None:
    """A run of some of the tests is told apart from one in which a series disappeared."""
    project.pytester.makepyfile(test_other="def test_it(): pass")
    result = project.run(
        *FAIL, "-k", "number or test_it", "test_a_selection_misses_nothing.py", "--kina-bench-json=a.json"
    )
    assert result.ret == 0
    document = project.document("a.json")
    assert document["kina"]["partial"] == ["-k", "test_a_selection_misses_nothing.py"]


def test_a_damaged_history_is_named_and_does_not_hide_a_regression(project: Project, history: Path) -> None:
    """Files that cannot be used are listed; the others count."""
    (history / "0006_torn_x.json").write_text('{"benchmarks": [')
    (history / "0007_foreign_x.json").write_text("[]")
    project.order(create=SLOW)
    result = project.run(*FAIL)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["note: history: *0006_torn_x.json is not valid JSON*", "note: history: *0007_foreign*"]
    )


def test_a_store_that_cannot_be_written_fails_what_relies_on_it(project: Project) -> None:
    """A baseline that is never written would never fail a run either, so that is said, and counts."""
    (project.path / ".kina-bench").write_text("in the way")
    result = project.run(*FAIL)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["not stored: the history in *.kina-bench* cannot be written: *", "gate FAILED: the run could not be stored; *"]
    )
    assert "stored and accepted" not in result.stdout.str()


def test_an_error_of_the_gate_fails_only_where_it_is_relied_upon(project: Project) -> None:
    """The gate breaks off with a sentence, never with a traceback into the session."""
    project.pytester.makeconftest(
        """
        from pytest_kina import gate

        def broken(*_):
            raise ZeroDivisionError("nobody knows")

        gate.judge = broken
        """
    )
    result = project.run(*FAIL)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the gate broke off: ZeroDivisionError: nobody knows"])
    assert project.run(*FAIL, "--kina-gate=warn").ret == 0


@pytest.mark.parametrize("value", ["maybe", "FAIL", "1"])
def test_a_wrong_mode_is_refused(project: Project, value: str) -> None:
    """The error names the option and what it takes."""
    result = project.run(f"--kina-gate={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--kina-gate: expected off, warn or fail, like 'fail'; got '{value}'*"])
