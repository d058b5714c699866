"""pytest-benchmark's own options work on our series, in every kind of run."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.plugin_gate.conftest import Project

KINDS = pytest.mark.parametrize(
    "arguments",
    [(), ("-n", "0"), ("-n", "2"), ("--dist", "each", "--tx", "2*popen")],
    ids=["plain", "n0", "n2", "each"],
)


def _samples(document: dict[str, Any]) -> dict[str, list[float]]:
    return {row["fullname"]: row["stats"]["data"] for row in document["benchmarks"]}


@KINDS
def test_benchmark_json_has_the_rows_of_our_own_file(project: Project, arguments: tuple[str, ...]) -> None:
    """Both files have the same series with the same samples and statistics, the deletion at the end included."""
    result = project.run("--benchmark-json=theirs.json", "--kina-bench-json=ours.json", "--kina-ttl=0", *arguments)
    assert result.ret == 0
    theirs, ours = project.document("theirs.json"), project.document("ours.json")
    assert _samples(theirs) == _samples(ours)
    assert any(name.startswith("kina::delete[") for name in _samples(theirs))
    for one, other in zip(theirs["benchmarks"], ours["benchmarks"], strict=True):
        assert one["stats"] == other["stats"]
        assert (one["params"], one["group"]) == (other["params"], other["group"])


@KINDS
def test_saving_comparing_and_failing_work(project: Project, arguments: tuple[str, ...]) -> None:
    """A run that is saved is what a slower run fails against; what our gate says is not lost by that."""
    project.order(create=0.01)
    assert project.run("--benchmark-save=first", "--kina-ttl=0", *arguments).ret == 0
    project.order(create=0.3)
    slower = project.run(
        "--benchmark-compare=*first",
        "--benchmark-compare-fail=median:200%",
        "--kina-ttl=0",
        "--kina-gate=fail",
        "--kina-gate-budget=0",
        *arguments,
    )
    assert slower.ret == pytest.ExitCode.TESTS_FAILED
    assert "kina.create" in slower.stderr.str() + slower.stdout.str()
    assert "Performance has regressed" in slower.stderr.str() + slower.stdout.str()
    slower.stdout.fnmatch_lines(["*= kina gate =*", "gate*series*"])


@pytest.mark.parametrize(
    "options",
    [
        ("--benchmark-sort=name", "--benchmark-group-by=group"),
        ("--benchmark-sort=mean", "--benchmark-group-by=param:phase", "--benchmark-columns=min,ops,rounds,outliers"),
        ("--benchmark-group-by=param:nobody", "--benchmark-name=long"),
        ("--benchmark-histogram=h", "--benchmark-group-by=fullname"),
    ],
)
def test_display_options_work(project: Project, options: tuple[str, ...]) -> None:
    """Sorting, grouping (by unknown parameters, too), columns, names and histograms take our rows like others."""
    # pytest-benchmark itself cannot group plain tests by a parameter
    if not any("param:" in option for option in options):
        project.pytester.makepyfile(test_more="def test_it(benchmark): benchmark(lambda: None)")
    result = project.run(*options)
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*kina?*create[[]fake-k8s1.36*"])
    assert bool(list(project.path.glob("h*.svg"))) == ("--benchmark-histogram=h" in options)


def test_csv_of_the_saved_file_has_our_rows(project: Project) -> None:
    """pytest-benchmark's own command reads what its plugin saved for us."""
    project.run("--benchmark-save=first", "--benchmark-save-data")
    result = project.pytester.run(
        sys.executable, "-m", "pytest_benchmark", "compare", "--csv=t", "--columns=min,max,median"
    )
    assert result.ret == 0
    assert "create[fake" in (project.path / "t.csv").read_text()


@pytest.mark.parametrize("option", ["--benchmark-disable", "--benchmark-skip"])
def test_its_options_switch_our_rows_off(project: Project, option: str) -> None:
    """Who wants no benchmarks gets none of ours."""
    result = project.run(option)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*kina.create[[]*")


def test_without_pytest_benchmark_nothing_is_missed(project: Project) -> None:
    """The plugin works where pytest-benchmark is blocked, and says nothing about it."""
    result = project.run("-p", "no:benchmark")
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*pytest-benchmark*")


@pytest.mark.parametrize(
    "change",
    [
        "import pytest_benchmark.stats as it; del it.Metadata",
        "import pytest_benchmark.stats as it; it.Metadata.__init__ = lambda self: None",
        "import pytest_benchmark.stats as it; it.Metadata.update = None",
    ],
    ids=["gone", "another signature", "no samples"],
)
def test_a_changed_pytest_benchmark_costs_one_line(project: Project, change: str) -> None:
    """Private API that is no longer what we know is said once; tests and our own file are as they were."""
    project.pytester.makeconftest(change)
    result = project.run("--kina-bench-json=a.json")
    text = result.stdout.str()
    assert text.count("this version of pytest-benchmark does not take our rows") == 1
    assert _samples(project.document("a.json"))
