"""The parts come in with the first test that needs a cluster, whichever way it asks."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

PROBE = """
    def pytest_unconfigure(config):
        import sys
        print("entered:", "pytest_kina.plugin.parts" in sys.modules)
"""


def entered(result: pytest.RunResult) -> bool:
    """Whether the parts had come in by the end of the run."""
    (line,) = [line for line in result.outlines if line.startswith("entered: ")]
    return line == "entered: True"


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("def test_it(tmp_path): pass", False),
        ("def test_it(kina_cluster): pass", True),
        ("def test_it(kina_artifacts): assert kina_artifacts.is_dir()", True),
        ("def test_it(request): request.getfixturevalue('kina_cluster')", True),
        ("import pytest\n@pytest.mark.kina_cluster\ndef test_it(): pass", True),
        (
            "import pytest\n@pytest.mark.parametrize('kina_cluster', [{}], indirect=True)\ndef test_it(kina_cluster): pass",
            True,
        ),
    ],
)
def test_parts_come_in_only_when_needed(project: Project, source: str, needs: bool) -> None:
    """A run without clusters does not load what works on clusters; every way of asking for one does, and works."""
    project.pytester.makeconftest(PROBE)
    project.write(test_a=source)
    result = project.run_apart("-p", "no:xdist")
    result.assert_outcomes(passed=1)
    assert entered(result) is needs


def test_a_mark_on_a_test_case_alone_is_still_refused(project: Project) -> None:
    """What pytest does not parametrise calls the parts in, too, because it must be refused."""
    project.write(
        test_a="""
        import pytest, unittest

        @pytest.mark.kina_cluster(version="1.35")
        class TestIt(unittest.TestCase):
            def test_it(self): pass
        """
    )
    result = project.run_apart("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_a.py::TestIt::test_it: a unittest.TestCase cannot have parameters*"])


def test_the_first_of_our_fixtures_may_be_asked_for_in_a_running_test(project: Project) -> None:
    """The lease of such a test is given back with it, like that of any test without a parameter."""
    project.write(
        test_a="""
        def test_first(request): assert request.getfixturevalue("kina_cluster").version == "v1.36.3"
        def test_second(kina_artifacts): pass
        def test_third(request): assert request.getfixturevalue("kina_cluster").version == "v1.36.3"
        """
    )
    project.run_apart("-p", "no:xdist").assert_outcomes(passed=3)
    assert project.calls()["create"] == 1
    assert sum(project.leases().values()) == 2
