"""An existing cluster that was not named rightly ends the run at collection, and is told once."""

from __future__ import annotations

import pytest
import yaml

from tests.plugin.conftest import Project

TESTS = "def test_one(kina_cluster): pass\ndef test_two(kina_namespace): pass\ndef test_plain(): pass"
KUBECONFIG = {
    "contexts": [{"name": "kind-ci", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
RIGHT = {"kubeconfig": "config.yaml", "context": "kind-ci", "allow-context": "kind-*"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"context": ""}, "context not set"),
        ({"allow-context": ""}, "allow_context not set"),
        ({"allow-context": "ci-*"}, "context 'kind-ci' does not match allow_context 'ci-[*]'"),
        ({"kubeconfig": "absent.yaml"}, "absent.yaml cannot be read: *No such file*"),
        ({"context": "kind-other"}, "config.yaml has no context 'kind-other'; it has kind-ci"),
    ],
)
def test_a_wrong_name_is_a_usage_error(project: Project, change: dict[str, str], problem: str) -> None:
    """No test runs; the message says what is wrong, for which tests, and how the cluster is to be named."""
    project.pytester.path.joinpath("config.yaml").write_text(yaml.safe_dump(KUBECONFIG))
    project.write(test_a=TESTS)
    named = [f"--kina-{option}={value}" for option, value in (RIGHT | change).items() if value]
    result = project.run("--kina-provider=external", *named)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    problems = [line for line in result.stderr.lines if "provider 'external'" in line]
    assert len(problems) == 1, "two tests, one problem"
    result.stderr.fnmatch_lines([f"test_a.py::test_one, test_a.py::test_two: provider 'external': *{problem}"])
    result.stderr.fnmatch_lines(["Next step: *"])
    assert "passed" not in result.stdout.str()


def test_tests_without_clusters_do_not_mind(project: Project) -> None:
    """Nobody looks at a kubeconfig that no selected test needs."""
    project.write(test_a=TESTS)
    project.run("--kina-provider=external", "-k", "plain").assert_outcomes(passed=1, deselected=2)
