"""The file of --kina-bench-json, and the programs that read it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.stats import Stats

Run = Callable[..., pytest.RunResult]
COLUMNS = "min,max,mean,stddev,median,iqr,outliers,rounds,iterations,ops"


def _compare(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-m", "pytest_benchmark", "compare", *arguments, timeout=60)


@pytest.mark.usefixtures("four_tests")
@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "n2"])
def test_pytest_benchmark_reads_it(run: Run, pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """The real command shows every column, groups by parameters, compares two runs, and writes CSV and a histogram."""
    run("--kina-bench-json=a.json", *arguments).assert_outcomes(passed=4)
    run("--kina-bench-json=b.json", *arguments).assert_outcomes(passed=4)
    shown = _compare(
        pytester, "a.json", f"--columns={COLUMNS}", "--group-by=param:phase,param:start", "--csv=t", "--histogram=h"
    )
    assert shown.ret == 0, shown.stderr.str()
    shown.stdout.fnmatch_lines(["*kina.create[[]*-k8s1.36-workloads-n1-fresh-c*"])
    assert "warning" not in shown.stderr.str().lower()
    assert (pytester.path / "t.csv").read_text().startswith("name,")
    assert list(pytester.path.glob("h*.svg"))
    between = _compare(pytester, "--between=median", "a.json", "b.json")
    assert between.ret == 0, between.stderr.str()
    between.stdout.fnmatch_lines(["*kina.lease_wait*"])


@pytest.mark.usefixtures("four_tests")
def test_pytest_itself_compares_with_it(run: Run, pytester: pytest.Pytester) -> None:
    """``--benchmark-compare`` takes the file as a baseline without a complaint about its shape."""
    run("--kina-bench-json=a.json")
    pytester.makepyfile(test_bench="def test_it(benchmark): benchmark(lambda: None)")
    result = pytester.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:kina", "--benchmark-compare=a.json", "test_bench.py"
    )
    result.assert_outcomes(passed=1)
    assert "KeyError" not in result.stdout.str()


@pytest.mark.usefixtures("four_tests")
def test_it_has_the_full_set_of_fields(run: Run, pytester: pytest.Pytester) -> None:
    """Everything that pytest-benchmark 5.3.1 writes is there, and nothing in it is not JSON."""
    run("--kina-bench-json=a.json", "-n", "2")
    document = _strict(pytester.path / "a.json")
    assert list(document) == ["machine_info", "commit_info", "benchmarks", "datetime", "version", "kina"]
    assert {"node", "machine", "system", "release", "python_version", "cpu"} <= set(document["machine_info"])
    assert {"id", "time", "author_time", "dirty", "project", "branch"} <= set(document["commit_info"])
    assert document["datetime"].endswith("+00:00")
    for benchmark in document["benchmarks"]:
        assert list(benchmark) == ["group", "name", "fullname", "params", "param", "extra_info", "options", "stats"]
        assert list(benchmark["stats"]) == [*Stats.fields, "data", "iterations"]
    names = [benchmark["fullname"] for benchmark in document["benchmarks"]]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "binaries" in name]


@pytest.mark.usefixtures("four_tests")
def test_its_samples_are_the_events(run: Run, home: Any, pytester: pytest.Pytester) -> None:
    """The data of each benchmark is what the processes measured, and the events stand beside it."""
    run("--kina-bench-json=a.json", "-n", "2")
    document = _strict(pytester.path / "a.json")
    for phase in ("create", "lease_wait"):
        measured = sorted(event.seconds for event in home.events() if event.phase == phase)
        rows = [row["stats"]["data"] for row in document["benchmarks"] if row["params"]["phase"] == phase]
        assert sorted(seconds for row in rows for seconds in row) == measured
    assert {event["id"] for event in document["kina"]["events"]} == {event.id for event in home.events()}
    assert document["kina"]["complete"] is True


def test_a_run_without_clusters_writes_a_file_without_benchmarks(run: Run, pytester: pytest.Pytester) -> None:
    """Who asked for the file finds one; an upload step does not fail."""
    pytester.makepyfile("def test_it(): pass")
    run("--kina-bench-json=a.json").assert_outcomes(passed=1)
    assert _strict(pytester.path / "a.json")["benchmarks"] == []


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "n2"])
@pytest.mark.parametrize("target", ["missing/a.json", "folder", "/dev/null", "file/a.json"])
def test_a_file_that_cannot_be_written_is_refused_before_any_test_runs(
    run: Run, pytester: pytest.Pytester, target: str, arguments: tuple[str, ...]
) -> None:
    """A usage error names the path and what to do; an hour of tests would have been for nothing."""
    pytester.makepyfile("from pathlib import Path\ndef test_it(): Path('ran').touch()")
    pytester.mkdir("folder")
    (pytester.path / "file").touch()
    result = run(f"--kina-bench-json={target}", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--kina-bench-json: *{target} cannot be written: *", "*Next step: *"])
    assert not (pytester.path / "ran").exists()


def test_checking_leaves_an_older_file_and_no_trace(run: Run, pytester: pytest.Pytester) -> None:
    """The last run's data stays until the new one is complete, and the probe is gone."""
    (pytester.path / "a.json").write_text("old")
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_it():
            assert Path("a.json").read_text() == "old"
            assert [path.name for path in Path.cwd().iterdir() if "a.json" in path.name] == ["a.json"]
        """
    )
    run("--kina-bench-json=a.json").assert_outcomes(passed=1)
    assert _strict(pytester.path / "a.json")["benchmarks"] == []


def test_a_file_that_cannot_be_written_at_the_end_fails_the_run(run: Run, pytester: pytest.Pytester) -> None:
    """The tests' result is shown, the reason is said, and the exit code is not 0."""
    pytester.mkdir("out")
    pytester.makepyfile("import shutil\ndef test_it(): shutil.rmtree('out')")
    result = run("--kina-bench-json=out/a.json")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--kina-bench-json: */out/a.json could not be written: *"])


def _strict(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    document: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return document
