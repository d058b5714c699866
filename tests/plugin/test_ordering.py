"""The order of tests: as few leases as possible, and otherwise as written."""

from __future__ import annotations

import pytest

from pytest_kina.timing import Phase
from tests.plugin.conftest import Project

MIXED = """
import pytest

def test_default(kina_cluster): pass
def test_plain(): pass

@pytest.mark.kina_cluster(versions=["1.34", "1.35"])
def test_matrix(): pass

@pytest.mark.kina_cluster(simulated_nodes=3)
def test_nodes(): pass

@pytest.mark.kina_cluster("east", version="1.35")
def test_named(): pass

def test_default_again(kina_cluster): pass

@pytest.mark.kina_cluster(version="1.34")
def test_old(): pass

@pytest.mark.kina_cluster(versions=["1.35", "1.34"])
def test_matrix_again(): pass
"""


def order(result: pytest.RunResult) -> list[str]:
    """The tests in the order in which they ran."""
    lines = (line.split() for line in result.outlines if "::" in line and "PASSED" in line)
    return [next(word for word in words if "::" in word).rpartition("::")[2] for words in lines]


def test_equal_needs_run_together(project: Project) -> None:
    """A mixed file makes one lease per different need, on every pytest version."""
    project.write(test_a=MIXED)
    result = project.run("-v")
    assert order(result) == [
        "test_default",
        "test_plain",
        "test_default_again",
        "test_matrix[1.34]",
        "test_old[1.34]",
        "test_matrix_again[1.34]",
        "test_matrix[1.35]",
        "test_matrix_again[1.35]",
        "test_nodes[nodes=3]",
        "test_named[east:1.35]",
    ]
    assert project.leases() == {"main": 5}


def test_equal_needs_run_together_on_each_xdist_worker(project: Project) -> None:
    """Under xdist no worker leases anything twice, and the run makes no cluster twice."""
    pytest.importorskip("xdist")
    project.write(test_a=MIXED)
    project.run_apart("-n", "2").assert_outcomes(passed=10)
    taken = [(event.worker, event.kubernetes, event.nodes) for event in project.events(Phase.LEASE_WAIT)]
    named = 1  # the named cluster is another request than the unnamed one of its version, by the same process or not
    assert len(taken) - len(set(taken)) <= named
    assert project.calls()["create"] == 4


def test_suite_with_one_need_keeps_its_order(project: Project) -> None:
    """Plain tests between tests with clusters stay where they are, also across modules and their fixtures."""
    module = """
        import pytest

        @pytest.fixture(scope="module")
        def thing(): return object()

        def test_1(thing): pass
        def test_2(kina_cluster): pass
        def test_3(thing): pass
        def test_4(kina_cluster, thing): pass
        """
    project.write(test_a=module, test_b=module)
    assert order(project.run("-v")) == [f"test_{number}" for number in (1, 2, 3, 4)] * 2
    assert project.leases() == {"main": 1}


def test_order_of_another_plugin_is_kept_within_a_need(project: Project) -> None:
    """What another plugin decided about the order stands, as far as it costs no lease."""
    project.pytester.makeconftest("def pytest_collection_modifyitems(items): items.reverse()")
    project.write(
        test_a="""
        import pytest

        def test_1(kina_cluster): pass
        @pytest.mark.kina_cluster(version="1.35")
        def test_2(): pass
        def test_3(kina_cluster): pass
        """
    )
    assert order(project.run("-v")) == ["test_3", "test_1", "test_2[1.35]"]


def test_failed_first_does_not_cost_leases(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--ff`` moves failed tests forward; tests with equal needs still run together."""
    project.write(
        test_a="""
        import os, pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_default(kina_cluster, number): pass

        @pytest.mark.kina_cluster(version="1.35")
        @pytest.mark.parametrize("number", [1, 2])
        def test_old(number): assert number == 1 or "FIXED" in os.environ
        """
    )
    project.run().assert_outcomes(passed=3, failed=1)
    monkeypatch.setenv("FIXED", "1")
    result = project.run("-v", "--ff")
    assert order(result) == ["test_old[1.35-2]", "test_old[1.35-1]", "test_default[1]", "test_default[2]"]
