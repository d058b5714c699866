"""Programs of others that read our files: pytest-benchmark itself runs; the others are held against what they read.

Neither github-action-benchmark's nor Bencher's reader is published as a package, so their schemas here are written from
their sources (named in each schema), and the figures that they would show are computed from the file.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_kina import gate
from pytest_kina.report.benchmark_json import document, write_benchmarks
from pytest_kina.report.summary import RunTimings
from tests.support.outcomes import lives

HERE = Path(__file__).parent
COLUMNS = "min,max,mean,stddev,median,iqr,outliers,rounds,iterations,ops"
CREATE = "kina::create[embedded-k8s1.36-workloads-n1-fresh-c1]"


def _timings(run: str, factor: float = 1.0) -> RunTimings:
    return RunTimings(run=run, events=lives(5, factor))


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A file of --kina-bench-json."""
    write_benchmarks(tmp_path / "run.json", _timings("r1"), tmp_path)
    return tmp_path / "run.json"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store with two accepted runs; returns the machine's directory in it."""
    for run, factor in (("r1", 1.0), ("r2", 1.1)):
        whole = document(_timings(run, factor), tmp_path)
        measured = gate.measured(whole, place=run)
        judged = gate.judge(measured, gate.History(machine=measured.machine), gate.Rules())
        path = gate.save(tmp_path / "store", whole, judged, gate.Promotion(store=True, accepted=True, why=""))
    return path.parent


def _compare(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-m", "pytest_benchmark", *arguments, timeout=120)


def test_pytest_benchmark_is_the_version_whose_shape_we_write() -> None:
    """An older one would prove nothing about what users of the extra get."""
    assert tuple(map(int, version("pytest-benchmark").split("."))) >= (5, 3, 1)


def test_pytest_benchmark_compares_the_history(pytester: pytest.Pytester, stored: Path) -> None:
    """The store is a storage of its own: all columns, histograms, CSV and the change between two runs."""
    storage = f"--storage=file://{stored.parent}"
    shown = _compare(
        pytester,
        storage,
        "compare",
        f"{stored.name}/*",
        f"--columns={COLUMNS}",
        "--csv=t",
        "--histogram=h",
        "--name=long",
    )
    assert shown.ret == 0, shown.stderr.str()
    assert "warning" not in shown.stderr.str().lower()
    assert shown.stdout.str().count("kina::create[") == 2
    assert len(list(pytester.path.glob("h*.svg"))) == 1
    assert (pytester.path / "t.csv").read_text().count("kina::create[") == 2
    between = _compare(pytester, storage, "compare", f"{stored.name}/*", "--between=median", "--name=long")
    assert between.ret == 0, between.stderr.str()
    between.stdout.fnmatch_lines(["*kina::create*"])


@pytest.mark.parametrize("consumer", ["bencher", "github-action-benchmark"])
def test_others_find_what_they_read(run_file: Path, stored: Path, consumer: str) -> None:
    """A run's file and the files of the history have every field, of the right type."""
    schema = json.loads((HERE / f"{consumer}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in (run_file, *stored.glob("*.json")):
        found: dict[str, Any] = json.loads(path.read_text())
        jsonschema.validate(found, schema)
        assert CREATE in [row["fullname"] for row in found["benchmarks"]]


@pytest.mark.parametrize("consumer", ["bencher", "github-action-benchmark"])
@pytest.mark.parametrize("key", ["fullname", "stats"])
def test_the_schemas_see_what_is_missing(run_file: Path, consumer: str, key: str) -> None:
    """A schema that accepts everything would prove nothing."""
    schema = json.loads((HERE / f"{consumer}.schema.json").read_text())
    found = json.loads(run_file.read_text())
    del found["benchmarks"][0][key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema)


def test_what_they_chart_is_what_was_measured(run_file: Path) -> None:
    """Operations per second are the reciprocal of the mean, and names are unique, so no point hides another."""
    rows = json.loads(run_file.read_text())["benchmarks"]
    assert len({row["fullname"] for row in rows}) == len(rows)
    for row in rows:
        assert row["stats"]["ops"] * row["stats"]["mean"] == pytest.approx(1)
    (create,) = [row for row in rows if row["fullname"] == CREATE]
    assert create["stats"]["median"] == pytest.approx(1.02)
