"""Wrong marks end the run before anything starts, with every bad test named."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

WRONG = {
    "verson='1.35'": "verson: no such key; did you mean 'version'?",
    "colour='red'": "colour: no such key",
    "1": "the positional argument is the cluster's name",
    "'a', 'b'": "at most one positional argument",
    "version=1.35": "version: expected a Kubernetes version as text",
    "version='newest'": "version: expected a Kubernetes version as text",
    "versions='1.35'": "versions: expected a list",
    "versions=[]": "versions: expected a list",
    "versions=['1.35', 'v1.35']": "versions: each version once",
    "version='1.35', versions=['1.36']": "version and versions: only one of them",
    "provider=''": "provider: expected",
    "profile='small'": "profile: expected 'workloads' or 'api'",
    "profile='api', simulated_nodes=1": "simulated_nodes: profile='api' has no nodes",
    "simulated_nodes=-1": "simulated_nodes: expected a whole number",
    "simulated_nodes=True": "simulated_nodes: expected a whole number",
    "feature_gates={'A': 'true'}": "feature_gates: expected a mapping",
    "api_server_args={'--v': '4'}": "api_server_args: expected a mapping of flags without dashes",
    "isolation='shared'": "isolation: expected 'namespace', 'exclusive' or 'fresh'",
    "scope='class', isolation='fresh'": "scope: expected 'function' or 'module'",
    "scope='module'": "scope: only together with isolation",
}


@pytest.mark.parametrize(("arguments", "problem"), WRONG.items(), ids=str)
def test_wrong_mark_is_refused(project: Project, arguments: str, problem: str) -> None:
    """A wrong mark is a usage error that names the test, the problem and the allowed keys."""
    project.write(
        test_a=f"import pytest\n@pytest.mark.kina_cluster({arguments})\ndef test_bad(): pass\ndef test_good(): pass"
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "\n".join(result.errlines)
    assert f"test_a.py::test_bad: {problem}" in message
    assert "allowed keys are api_server_args, feature_gates, isolation" in message
    assert not project.home.exists()


def test_misspelt_name_of_a_named_spec_is_refused(project: Project) -> None:
    """A mark whose name is almost that of a table is a usage error, instead of a test on the default cluster."""
    project.pytester.makepyprojecttoml("[tool.kina.clusters.big]\nsimulated_nodes = 3")
    project.write(test_a="import pytest\n@pytest.mark.kina_cluster('bgi')\ndef test_bad(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_a.py::test_bad: 'bgi': no [tool.kina.clusters.bgi]; did you mean 'big'?" in "\n".join(result.errlines)
    assert not project.home.exists()


def test_all_wrong_tests_are_named_at_once(project: Project) -> None:
    """Every bad test of the run is listed, from whichever module, also parameters and what the hook returned."""
    project.pytester.makeconftest(
        "def pytest_kina_default_spec(path): return {'versin': '1'} if path.name == 'test_c.py' else None"
    )
    project.write(
        test_a="import pytest\n@pytest.mark.kina_cluster(verson='1')\ndef test_it(): pass",
        test_b="""
        import pytest

        @pytest.mark.parametrize("kina_cluster", [{}, {"profil": "api"}, 3, {"versions": ["1.35"]}], indirect=True)
        def test_it(kina_cluster): pass
        """,
        test_c="def test_it(kina_cluster): pass",
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "\n".join(result.errlines)
    assert "test_a.py::test_it: verson" in message
    assert "test_b.py::test_it[kina_cluster0]" not in message
    assert "test_b.py::test_it[kina_cluster1]: profil: no such key; did you mean 'profile'?" in message
    assert "test_b.py::test_it[3]: a parameter of kina_cluster must be a mapping" in message
    assert "test_b.py::test_it[kina_cluster3]: versions: not in a parameter" in message
    assert "test_c.py::test_it: pytest_kina_default_spec for" in message


def test_clusters_of_one_test_share_one_isolation(project: Project) -> None:
    """Marks that are leased together may not disagree about how."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster("east", isolation="fresh")
        @pytest.mark.kina_cluster("west", isolation="exclusive")
        def test_it(): pass
        """
    )
    result = project.run()
    assert "isolation: clusters of one test are leased together" in "\n".join(result.errlines)


@pytest.mark.parametrize("place", ["class", "module"])
def test_marked_test_case_is_refused_by_name(project: Project, place: str) -> None:
    """A mark on a ``unittest.TestCase`` cannot do anything, so it is refused, wherever it was written."""
    mark = "pytest.mark.kina_cluster(version='1.35')"
    on_module, on_class = (f"pytestmark = {mark}", "") if place == "module" else ("", f"@{mark}")
    project.write(
        test_a=f"""
        import pytest, unittest
        {on_module}
        {on_class}
        class TestIt(unittest.TestCase):
            def test_method(self): pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_a.py::TestIt::test_method: a unittest.TestCase cannot have parameters" in "\n".join(result.errlines)


def test_unmarked_test_case_is_left_alone(project: Project) -> None:
    """A ``unittest.TestCase`` without marks runs as ever."""
    project.write(test_a="import unittest\nclass TestIt(unittest.TestCase):\n    def test_method(self): pass")
    project.run().assert_outcomes(passed=1)


def test_wrong_marks_are_a_usage_error_under_xdist(project: Project) -> None:
    """The xdist controller shows what its workers refused, and ends with the exit code of a usage error."""
    pytest.importorskip("xdist")
    project.write(test_a="import pytest\n@pytest.mark.kina_cluster(verson='1')\ndef test_it(): pass")
    result = project.run_apart("-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_a.py::test_it: verson: no such key; did you mean 'version'?" in result.stderr.str()
