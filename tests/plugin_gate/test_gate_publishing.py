"""What a run publishes when it is asked to, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

from tests.plugin_gate.conftest import Project

FAIL = ("--kina-gate=fail", "--kina-ttl=0", "--kina-gate-samples=3", "-p", "no:benchmark")
BOTH = pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "n2"])


@BOTH
def test_junit_has_the_judgement_as_properties(project: Project, arguments: tuple[str, ...]) -> None:
    """They belong to the suite and come from the controller."""
    project.run(*FAIL, "--junitxml=j.xml", *arguments)
    found = ET.parse(project.path / "j.xml").findall(".//testsuite/properties/property")
    properties = {one.get("name"): one.get("value") for one in found}
    assert properties["kina.gate"] == "passed"
    kind = "fake-k8s1.36-workloads-n1-fresh-c1"
    assert properties[f"kina.create[{kind}].verdict"] == "NEW"
    assert float(properties[f"kina.create[{kind}].median_seconds"] or 0) > 0


@BOTH
def test_files_are_written_where_they_were_asked_for(project: Project, arguments: tuple[str, ...]) -> None:
    """HTML and Prometheus files relative to where pytest was started, also when a test changes the directory."""
    project.pytester.makepyfile("import os\ndef test_it(kina_cluster): os.chdir('/')")
    result = project.run(*FAIL, "--kina-html=r.html", "--kina-prometheus=k.prom", *arguments)
    assert result.ret == 0
    assert (project.path / "r.html").read_text().startswith("<!doctype html>")
    assert "kina_gate_failed 0" in (project.path / "k.prom").read_text()
    result.stdout.fnmatch_lines(["kina report: */r.html"])


def test_a_report_that_cannot_be_written_is_said_and_fails_nothing(project: Project) -> None:
    """Pictures are not worth a red run, and each that can be written is, whatever became of the one before."""
    result = project.run(*FAIL, "--kina-html=r.html", "--kina-prometheus=missing/k.prom")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["kina: a report could not be written: */missing/k.prom: No such file or directory", "kina report: */r.html"]
    )
    assert (project.path / "r.html").exists()


def test_github_gets_annotations_and_a_summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workflow commands stand at the beginning of a line, and the summary file has the table."""
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = project.run(*FAIL, "--kina-require-baseline")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    errors = [line for line in result.outlines if line.startswith("::error title=kina gate%3A NEW::kina::")]
    assert len(errors) == 5
    assert "| ❌ NEW | `create[fake" in summary.read_text()


def test_measurements_are_in_the_benchmark_file(project: Project) -> None:
    """Each cluster when it was leased and given back, and each process; with what the gate said."""
    project.run(*FAIL, "--kina-bench-json=a.json", "-n", "2")
    kina = project.document("a.json")["kina"]
    moments = {(one["worker"], one["when"]) for one in kina["metrics"] if one["kind"] == "cluster"}
    assert {when for _, when in moments} == {"ready", "release"}
    processes = [one for one in kina["metrics"] if one["kind"] == "process"]
    assert {one["worker"] for one in processes} >= {worker for worker, _ in moments}
    assert all(one["usage"]["rss"] > 10_000_000 for one in processes)
    assert {one["name"] for one in kina["verdicts"]} == {"NEW"}


def test_the_benchmark_file_follows_its_schema(project: Project) -> None:
    """Verdicts and measurements of a real run are what the published schema says, and nothing is left undescribed."""
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "benchmark-json.schema.json").read_text())
    project.run(*FAIL, "--kina-bench-json=a.json", "-n", "2")
    document = project.document("a.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    described = schema["properties"]["kina"]["properties"]
    assert set(document["kina"]) <= set(described)
    assert set(document["kina"]["metrics"][0]) <= set(described["metrics"]["items"]["properties"])
    document["kina"]["verdicts"][0]["name"] = "FINE"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize(("action", "status"), [("warn", 0), ("fail", 1)])
@pytest.mark.parametrize("mode", ["off", "warn"])
def test_alerts_reach_the_hook_and_decide_the_exit_status(
    project: Project, action: str, status: int, mode: str
) -> None:
    """A broken rule calls the hook once, and fails the run when the rule says so, whatever the gate's mode is."""
    project.order(create=0.05)
    project.pytester.makepyprojecttoml(
        f"""
        [[tool.kina.alerts]]
        phase = "create"
        statistic = "max"
        limit = "20ms"
        action = "{action}"

        [[tool.kina.alerts]]
        phase = "create"
        limit = "1m"
        action = "fail"
        """
    )
    project.pytester.makeconftest(
        """
        def pytest_kina_alert(config, alert):
            print(f"HOOK {alert.rule.statistic} {alert.value > 0.02}")
        """
    )
    result = project.run(f"--kina-gate={mode}", "-n", "2", "-p", "no:benchmark", "-s")
    assert result.ret == status
    assert result.stdout.str().count("HOOK max True") == 1
    result.stdout.fnmatch_lines([f"alert ({action}): kina::create*: max * of 1, the limit is 20.0 ms"])


def test_wrong_alerts_are_refused_before_any_test(project: Project) -> None:
    """A usage error names file, rule and key."""
    project.pytester.makepyprojecttoml('[[tool.kina.alerts]]\nphase = "boot"\nlimit = "1s"')
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pyproject.toml: rule 1: phase: expected one of *got 'boot'*"])


def test_slow_operations_are_listed(project: Project) -> None:
    """What took longer than the threshold, with its cluster, worker and test; nothing without a threshold."""
    project.order(create=0.2)
    result = project.run("--kina-slow-threshold=150ms", "-p", "no:benchmark")
    result.stdout.fnmatch_lines(["slow operations (over 150.0 ms):", "  create * kina-*, main, test_slow*::test_it*"])
    subprocess.run(["rm", "-rf", str(project.home)], check=True)
    project.run("-p", "no:benchmark").stdout.no_fnmatch_line("*slow operations*")


def test_a_hook_sees_clusters_before_they_are_given_back(project: Project) -> None:
    """Once per lease, while the cluster is still there; its error does not keep the cluster."""
    project.pytester.makeconftest(
        """
        def pytest_kina_cluster_release(cluster):
            print(f"RELEASE {cluster.directory.is_dir()}")
            raise ValueError("of the project")
        """
    )
    result = project.run("--kina-ttl=0", "-s", "-p", "no:benchmark")
    result.assert_outcomes(passed=4, errors=1)
    assert result.stdout.str().count("RELEASE True") == 1
    assert list(project.home.glob("slots/*.json")) == []
