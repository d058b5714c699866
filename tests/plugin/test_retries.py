"""What was tried again is told at the end of the run, from whichever process it comes."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

LUCKY = """
from pytest_kina.retries import note

def test_one(kina_cluster): note("the port was taken")
def test_two(kina_cluster): note("the port was taken")
def test_three(kina_cluster): pass
"""
AT_THE_END = """
import pytest
from pytest_kina.retries import note

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session): note(f"late, worker: {hasattr(session.config, 'workerinput')}")
"""


@pytest.mark.parametrize("how", [("-p", "no:xdist"), ("-n", "2")])
def test_retries_are_told_and_counted(project: Project, how: tuple[str, ...]) -> None:
    """Equal ones on one line with their number, also what happened after the last test, in a section of its own."""
    if "-n" in how:
        pytest.importorskip("xdist")
    project.pytester.makeconftest(AT_THE_END)
    project.write(test_a=LUCKY)
    result = project.run_apart(*how)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*= kina: tried again =*", "the port was taken (2 times)"])
    if "-n" in how:
        result.stdout.fnmatch_lines(["late, worker: True (2 times)"])
    result.stdout.fnmatch_lines(["late, worker: False"])


def test_a_run_without_retries_says_nothing(project: Project) -> None:
    """No section for nothing."""
    project.write(test_a="def test_it(kina_cluster): pass")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*tried again*")
