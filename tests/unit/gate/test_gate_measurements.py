"""Documents become measurements, or a sentence about what is wrong with them; and which of them are stored."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.errors import StateError
from pytest_kina.gate import (
    History,
    Rules,
    judge,
    measured,
    merge,
    on_default_branch,
    promotion,
    read_document,
)
from pytest_kina.report.benchmark_json import document as report_document
from pytest_kina.report.benchmark_json import write_benchmarks
from pytest_kina.report.machine_key import local_key, machine_key
from pytest_kina.report.summary import RunTimings
from pytest_kina.timing import Phase, TimingEvent
from tests.support.gate_runs import MACHINE, around, document, measurements, name, series, steady


def test_what_the_report_writes_is_what_the_gate_reads(tmp_path: Path) -> None:
    """The document of a run goes in as it is: key, versions, samples and failures arrive."""
    common: dict[str, Any] = {"provider": "embedded", "kubernetes": "v1.36.3", "profile": "api", "cluster": "c"}
    events = [
        TimingEvent(id="1", run="r", phase=Phase.CREATE, seconds=1.5, provider_version="0.1.7", **common),
        TimingEvent(id="2", run="r", phase=Phase.CREATE, seconds=9.0, ok=False, provider_version="0.1.7", **common),
        TimingEvent(id="3", run="r", phase=Phase.RESET, seconds=9.0, ok=False, start="reused", **common),
    ]
    found = measured(report_document(RunTimings(run="r", events=events), tmp_path), place="it")
    assert (found.run, found.machine, found.incomplete) == ("r", machine_key(os.environ), ())
    create, reset = found.series
    assert create == series("create", 1.5, failures=1)
    assert (reset.phase, reset.provider, reset.seconds, reset.failures) == ("reset", "embedded", (), 1)


def test_an_incomplete_document_says_why() -> None:
    """The reasons come along, and without the word of its writer a document is not complete."""
    assert measured(document({}, complete=False, incomplete=["gw0 died"]), place="it").incomplete == ("gw0 died",)
    assert measured(document({}, complete=False), place="it").incomplete
    assert measured(document({}, complete="yes"), place="it").incomplete
    assert measured(document({}, partial=["-k x"]), place="it").partial == ("-k x",)


def _without(key: str) -> dict[str, Any]:
    broken = document({"create": (1.0,)})
    broken["kina"].pop(key, None)
    broken["benchmarks"][0].pop(key, None)
    return broken


def _with_sample(value: object) -> dict[str, Any]:
    broken = document({"create": (1.0,)})
    broken["benchmarks"][0]["stats"]["data"] = [value]
    return broken


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({}, "no timings of pytest-kina"),
        ({"kina": {}, "benchmarks": {}}, "no timings of pytest-kina"),
        (
            document({}, schema=2),
            "has schema 2, this version of pytest-kina understands 1\nNext step: read it with the version",
        ),
        (document({}, schema="1"), "has schema '1'"),
        (_without("run"), "does not have the shape"),
        (_without("machine_key"), "does not have the shape"),
        (_without("stats"), "does not have the shape"),
        (_without("extra_info"), "does not have the shape"),
        (document({}, machine="../up"), "no usable machine key"),
        (document({}, machine=""), "no usable machine key"),
        (document({}, failures={"x": -1}), "no count: -1"),
        (_with_sample(float("nan")), "no duration: nan"),
        (_with_sample(float("inf")), "no duration: inf"),
        (_with_sample(-0.1), "no duration: -0.1"),
        (_with_sample("1.0"), "no duration: '1.0'"),
        (_with_sample(True), "no duration: True"),
        (_with_sample(None), "no duration: None"),
        ({**document({}), "benchmarks": [*document({"create": (1,)})["benchmarks"]] * 2}, "twice"),
        ({**document({}), "benchmarks": [3]}, "does not have the shape"),
    ],
)
def test_bad_documents_are_refused_with_place_and_next_step(broken: dict[str, Any], what: str) -> None:
    """No value that could slip through as a pass."""
    with pytest.raises(StateError) as caught:
        measured(broken, place="timings.json")
    assert "timings.json" in str(caught.value)
    assert what in str(caught.value)
    assert "Next step" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The path is in the sentence."""
    with pytest.raises(StateError, match=r"none\.json cannot be read"):
        read_document(tmp_path / "none.json")


def test_merging_joins_equal_series() -> None:
    """The parts of one measuring count together."""
    one = measurements(series("create", 1.0, failures=1), series("delete", 2.0))
    other = measurements(series("create", 3.0, failures=2), run="other", incomplete=("broken",))
    joined = merge([one, other])
    assert [(part.phase, part.seconds, part.failures) for part in joined.series] == [
        ("create", (1.0, 3.0), 3),
        ("delete", (2.0,), 0),
    ]
    assert (joined.run, joined.incomplete) == ("this", ("broken",))


@pytest.mark.parametrize(
    ("change", "green", "branch", "why"),
    [
        ({"incomplete": ("broken",)}, True, True, "incomplete"),
        ({"series": ()}, True, True, "measured nothing"),
        ({}, False, True, "tests did not pass"),
        ({}, True, False, "default branch"),
    ],
)
def test_only_complete_green_runs_of_the_default_branch_are_stored(
    change: dict[str, Any], green: bool, branch: bool, why: str
) -> None:
    """Each of the conditions keeps a run out, and is named."""
    from dataclasses import replace

    run = replace(measurements(series()), **change)
    judgement = judge(run, History(machine=MACHINE), Rules())
    decision = promotion(run, judgement, green=green, default_branch=branch)
    assert not decision.store
    assert why in decision.why


def test_good_runs_are_accepted_and_regressed_ones_stored_without() -> None:
    """A regressed run stays in the history and out of the baseline."""
    decisions = []
    for median in (1.0, 2.0):
        run = measurements(series("create", *around(median)))
        decisions.append(promotion(run, judge(run, steady(), Rules()), green=True, default_branch=True))
    assert [(one.store, one.accepted) for one in decisions] == [(True, True), (True, False)]
    assert name("create") in decisions[1].why


def test_a_required_baseline_does_not_keep_the_first_run_out() -> None:
    """Otherwise there would never be one."""
    run = measurements(series())
    judgement = judge(run, History(machine=MACHINE), Rules(require_baseline=True))
    assert judgement.failed
    assert promotion(run, judgement, green=True, default_branch=True).accepted


def _github(**more: str) -> dict[str, str]:
    return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "branch", **more}


@pytest.mark.parametrize(
    ("environ", "branch", "expected"),
    [
        ({}, "main", True),
        ({}, "feature", False),
        ({}, "(detached head)", False),
        (_github(GITHUB_REF_NAME="main"), "(detached head)", True),
        (_github(GITHUB_REF_NAME="feature"), "main", False),
        (_github(GITHUB_REF_NAME="main", GITHUB_EVENT_NAME="pull_request"), "main", False),
        (_github(GITHUB_REF_NAME="main", GITHUB_EVENT_NAME="pull_request_target"), "main", False),
        (_github(GITHUB_REF_NAME="main", GITHUB_REF_TYPE="tag"), "main", False),
    ],
)
def test_which_runs_are_of_the_default_branch(
    tmp_path: Path, environ: dict[str, str], branch: str, expected: bool
) -> None:
    """GitHub's word counts before the checkout's, and a pull request never is."""
    assert on_default_branch(measurements(branch=branch), environ, tmp_path) is expected


def test_the_remote_names_the_default_branch(tmp_path: Path) -> None:
    """What origin/HEAD points to is the default branch, and main is not."""
    for line in ("init -q .", "symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/develop"):
        subprocess.run(["git", *line.split()], cwd=tmp_path, check=True)
    assert on_default_branch(measurements(branch="develop"), {}, tmp_path)
    assert not on_default_branch(measurements(branch="main"), {}, tmp_path)


def _info(**more: Any) -> dict[str, Any]:
    return {"system": "Linux", "machine": "x86_64", "node": "a", "cpu": {"brand_raw": "Fast CPU", "count": 2}, **more}


def test_the_machine_key_is_stable_and_tells_hardware_apart() -> None:
    """Host name, kernel and a few missing megabytes do not matter; processor, cores and memory do."""
    key = local_key(_info(), 8 * 2**30)
    assert key.startswith("linux-x86_64-2cpu-8gib-")
    assert local_key(_info(node="b", release="6.1"), 8 * 2**30 - 300 * 2**20) == key
    others = (
        local_key(_info(), 16 * 2**30),
        local_key(_info(cpu={"brand_raw": "Fast CPU", "count": 4}), 8 * 2**30),
        local_key(_info(cpu={"brand_raw": "Slow CPU", "count": 2}), 8 * 2**30),
        local_key(_info(machine="arm64"), 8 * 2**30),
    )
    assert len({key, *others}) == 5


def test_hosted_github_runners_are_keyed_by_image() -> None:
    """Their processor changes from run to run, so it is not in the key; a self-hosted runner is a machine like others."""
    hosted = {"RUNNER_ENVIRONMENT": "github-hosted", "ImageOS": "ubuntu24"}
    assert machine_key(hosted).startswith("gha-ubuntu24-")
    assert machine_key({**hosted, "RUNNER_ENVIRONMENT": "self-hosted"}) == machine_key({})


def test_the_document_of_a_run_follows_its_schema(tmp_path: Path) -> None:
    """The format of --kina-bench-json is described, and what is written keeps to it."""
    import json

    import jsonschema

    schema = json.loads((Path(__file__).parents[3] / "docs/schemas/benchmark-json.schema.json").read_text())
    event = TimingEvent(id="1", run="r", phase=Phase.CREATE, seconds=1.5, provider="embedded", cluster="c")
    write_benchmarks(tmp_path / "run.json", RunTimings(run="r", events=[event]), tmp_path)
    written = json.loads((tmp_path / "run.json").read_text())
    jsonschema.validate(written, schema)
    del written["kina"]["machine_key"]
    with pytest.raises(jsonschema.ValidationError, match="machine_key"):
        jsonschema.validate(written, schema)


@pytest.mark.parametrize(
    ("runtimes", "expected"),
    [
        ([], ""),
        (["docker 29.1.0"], "docker 29"),
        (["docker 29.1.0", "docker 29.3.2-rc1"], "docker 29"),
        (["kina 0.1.2, container 1.0.3"], "kina 0.1, container 1"),
        (["k3s v1.36.1+k3s1"], "k3s 1"),
    ],
)
def test_the_runtime_counts_with_its_major_version(runtimes: list[str], expected: str) -> None:
    """A patch of the container runtime leaves runs comparable, another major version does not."""
    content = document({"create": [1.0]})
    content["benchmarks"][0]["extra_info"]["runtimes"] = runtimes
    assert measured(content, place="x").series[0].runtime == expected
