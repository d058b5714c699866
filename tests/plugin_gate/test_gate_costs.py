"""What the plugin itself costs a process that holds a cluster: within the budgets that it reports."""

from __future__ import annotations

import pytest

from tests.plugin_gate.conftest import Project


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["plain", "n1"])
def test_holding_a_cluster_costs_little_memory_and_no_processor_time(
    project: Project, arguments: tuple[str, ...]
) -> None:
    """While a test only waits, all threads of the process use less than 5 % of a core, and memory grew by < 50 MiB."""
    project.pytester.makepyfile(
        """
        import time

        def test_it(kina_cluster):
            before = time.process_time()
            time.sleep(2)
            assert time.process_time() - before < 0.05 * 2

        def test_without_a_cluster():
            before = time.process_time()
            time.sleep(2)
            assert time.process_time() - before < 0.05 * 2
        """
    )
    result = project.run("-p", "no:benchmark", "--kina-bench-json=a.json", *arguments)
    result.assert_outcomes(passed=2)
    grown = [one["growth"] for one in project.document("a.json")["kina"]["metrics"] if one["kind"] == "process"]
    assert grown
    assert max(grown) < 50 * 1024 * 1024
