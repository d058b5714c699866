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
    "versions=['1.36', '1.36.3']": "versions: each version once, but '1.36' and '1.36.3' are the same, 1.36.3",
    "version='1.35', versions=['1.36']": "version and versions: only one of them",
    "provider=''": "provider: expected",
    "profile='small'": "profile: expected 'workloads' or 'api'",
    "profile='api', simulated_nodes=1": "simulated_nodes: profile='api' has no nodes",
    "simulated_nodes=-1": "simulated_nodes: expected a whole number",
    "simulated_nodes=10_001": "simulated_nodes: expected a whole number from 0 to 10000, got 10001",
    "simulated_nodes=True": "simulated_nodes: expected a whole number",
    "feature_gates={'A': 'true'}": "feature_gates: expected a mapping",
    "api_server_args={'--v': '4'}": "api_server_args: expected a mapping of flags without dashes",
    "workers=-1": "workers: expected a whole number of at least 0",
    "cpus=0": "cpus: expected a whole number of at least 1",
    "cpus='2'": "cpus: expected a whole number",
    "memory=4": "memory: expected memory per node as text, like '512Mi' or '4Gi'",
    "memory='4g'": "memory: expected memory per node",
    "memory='0Gi'": "memory: expected memory per node",
    "images='app:test'": "images: expected a list of image references",
    "images=['--all']": "images: expected a list of image references",
    "helm={'values': {}}": "helm: expected a chart's path",
    "needs='pods'": "needs: expected a set or list of pods, images, loadbalancer",
    "needs={'podz'}": "needs: expected a set or list of pods, images, loadbalancer",
    "needs={'reset'}": "needs: expected a set or list of pods",
    "provider_options=3": "provider_options: expected a mapping",
    "provider_options={'a': None}": "provider_options: expected a mapping",
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
    assert "allowed keys are api_server_args, bootstrap, cpus, crds, feature_gates, helm, images, isolation" in message
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


EMBEDDED = "--kina-provider=embedded"
IMPOSSIBLE = {
    "provider='nonsense'": "provider: there is no provider called 'nonsense'; known are *embedded*",
    "provider='no.such.module:Thing'": "provider: provider 'no.such.module:Thing' could not be loaded*No module named*",
    "provider='math:Thing'": "provider: provider 'math:Thing' could not be loaded*no attribute 'Thing'",
    "provider='broken:Thing'": "provider: provider 'broken:Thing' could not be loaded*RuntimeError: not today",
    "version='9.99'": "version: no source has Kubernetes 9.99; known: 1.34 (v1.34.*), 1.35 (v1.35.*), 1.36 (v1.36.*)",
    "workers=2": "provider 'embedded' cannot do what the test asks for:",
    "api_server_args={'secure-port': '1'}": "api_server_args may not set secure-port: *",
}


def refusal(result: pytest.RunResult) -> str:
    """What a run that was refused has said, once it is known to be a usage error."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    return result.stderr.str()


@pytest.mark.parametrize(("arguments", "problem"), IMPOSSIBLE.items(), ids=str)
def test_cluster_that_cannot_be_is_refused(project: Project, arguments: str, problem: str) -> None:
    """What no provider could make is a usage error naming the tests and what is allowed, and nothing is started."""
    project.write(
        broken="raise RuntimeError('not today')",
        test_a=f"""
        import pytest

        @pytest.mark.kina_cluster({arguments})
        class TestBad:
            @pytest.mark.parametrize("number", range(4))
            def test_it(self, number): pass

        def test_good(kina_cluster): pass
        """,
    )
    result = project.run(EMBEDDED)
    said = refusal(result)
    result.stderr.fnmatch_lines([f"test_a.py::TestBad::test_it[[]*, *, test_a.py::* and 1 more: {problem}"])
    assert "test_good" not in said
    assert "Next step: " in said
    assert not project.home.exists()


@pytest.mark.parametrize("how", ["--kina-plan", "--collect-only"])
def test_cluster_that_cannot_be_is_refused_without_a_run_as_well(project: Project, how: str) -> None:
    """Whoever only looks at the tests is told the same."""
    project.write(test_a="import pytest\n@pytest.mark.kina_cluster(provider='nonsense')\ndef test_it(): pass")
    assert "test_a.py::test_it[nonsense]: provider: there is no provider called" in refusal(project.run(how))


def test_cluster_that_cannot_be_is_refused_under_xdist(project: Project) -> None:
    """The xdist controller shows what its workers found, once, and ends with the exit code of a usage error."""
    pytest.importorskip("xdist")
    project.write(test_a="import pytest\n@pytest.mark.kina_cluster(version='9.99')\ndef test_it(): pass")
    said = refusal(project.run_apart("-n", "2"))
    assert said.count("test_a.py::test_it[9.99]: version: there is no Kubernetes 9.99") == 1
    assert not project.home.exists()


def test_provider_of_the_run_that_does_not_exist_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown provider in an option is a usage error that names the option or variable, if a test needs a cluster."""
    project.write(test_a="def test_it(kina_cluster): pass", test_b="def test_plain(): pass")
    unknown = "there is no provider called 'imaginary'; known are "
    assert f"test_a.py::test_it: --kina-provider: {unknown}" in refusal(project.run("--kina-provider=imaginary"))
    monkeypatch.setenv("KINA_PROVIDER", "imaginary")
    apart = project.run_apart("-p", "no:xdist", provider="-q")
    assert f"test_a.py::test_it: environment variable KINA_PROVIDER: {unknown}" in refusal(apart)
    project.run("--kina-provider=imaginary", "test_b.py").assert_outcomes(passed=1)


@pytest.mark.parametrize("how", [("-k", "not foreign"), ("--deselect=test_a.py::test_foreign",)])
def test_provider_of_tests_that_do_not_run_here_need_not_exist(project: Project, how: tuple[str, ...]) -> None:
    """Tests that are deselected or skipped may be meant for a provider of another machine."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(provider="elsewhere")
        def test_foreign(): pass
        @pytest.mark.skipif(True, reason="not on this machine")
        @pytest.mark.kina_cluster(provider="elsewhere")
        def test_skipped(): pass
        def test_here(kina_cluster): pass
        """
    )
    project.run(*how).assert_outcomes(passed=1, skipped=1, deselected=1)


LATE = "a mark that comes after pytest has parametrised the test"


def test_mark_of_a_parameter_set_is_refused(project: Project) -> None:
    """A mark in ``pytest.param`` cannot choose a cluster any more, so it is an error instead of the default cluster."""
    project.write(
        test_a="""
            import pytest
            late = pytest.mark.kina_cluster(profile="api")
            @pytest.mark.parametrize("x", [1, pytest.param(2, marks=late)])
            def test_asks(x, kina_cluster): pass
            @pytest.mark.parametrize("x", [1, pytest.param(2, marks=late)])
            def test_asks_not(x): pass
            @pytest.mark.kina_cluster
            @pytest.mark.parametrize(("x", "kina_cluster"), [(1, {}), (2, {"profile": "api"})], indirect=["kina_cluster"])
            def test_right(x, kina_cluster): pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    named = [line.partition(": ")[0] for line in result.errlines if LATE in line]
    assert named == ["test_a.py::test_asks[2]", "test_a.py::test_asks_not[2]"]
    assert not project.home.exists()


@pytest.mark.parametrize("other", ["kina_cluster", ""], ids=["others use clusters", "nobody does"])
@pytest.mark.parametrize("arguments", ["", "kina_cluster"], ids=["no fixture", "fixture"])
def test_mark_that_a_hook_adds_is_refused(project: Project, arguments: str, other: str) -> None:
    """A mark that ``conftest.py`` adds to collected tests is an error, since it came too late to count."""
    project.pytester.makeconftest("""
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_late":
                    item.add_marker(pytest.mark.kina_cluster(profile="api"))
    """)
    project.write(test_a=f"def test_late({arguments}): pass\ndef test_good({other}): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"test_a.py::test_late: {LATE}" in "\n".join(result.errlines)
