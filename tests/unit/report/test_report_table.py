"""What a person reads at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pytest_kina.report.table import duration, table
from pytest_kina.timing import Phase, TimingEvent

Make = Callable[..., TimingEvent]


def _cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_no_events_are_no_lines() -> None:
    """A run without clusters says nothing about clusters."""
    assert table([]) == []


def test_a_row_has_count_minimum_median_and_maximum(make: Make) -> None:
    """The figures come from all events of the phase, whichever cluster and xdist worker they belong to."""
    lines = table([make(seconds=seconds, cluster=f"c{seconds}", worker=f"gw{seconds}") for seconds in (3.0, 1.0, 8.0)])
    assert lines[0] == "embedded 0.1.0, Kubernetes v1.36.3, workloads, 1 node"
    assert _cells(lines[1]) == ["phase", "start", "n", "min", "median", "max"]
    assert [_cells(line) for line in lines[2:]] == [["create", "cold, fresh", "3", "1.00 s", "3.00 s", "8.00 s"]]


def test_warm_and_cold_are_apart(make: Make) -> None:
    """Waiting for a reused cluster is another row than waiting for a new one."""
    lines = table([make(Phase.LEASE_WAIT, 0.01, start="reused"), make(Phase.LEASE_WAIT, 2.0, start="fresh")])
    assert [_cells(line)[:5] for line in lines[2:]] == [
        ["lease_wait", "cold, fresh", "1", "2.00 s", "2.00 s"],
        ["lease_wait", "warm, reused", "1", "10.0 ms", "10.0 ms"],
    ]


@pytest.mark.parametrize(
    ("difference", "heading"),
    [
        ({"kubernetes": "v1.35.4"}, "embedded 0.1.0, Kubernetes v1.35.4, workloads, 1 node"),
        ({"provider": "kind", "provider_version": "0.29.0"}, "kind 0.29.0, Kubernetes v1.36.3, workloads, 1 node"),
        ({"profile": "api", "nodes": 0}, "embedded 0.1.0, Kubernetes v1.36.3, api, 0 nodes"),
    ],
)
def test_each_kind_of_cluster_has_its_own_block(difference: dict[str, object], heading: str, make: Make) -> None:
    """Provider, version, profile and nodes are never mixed in one figure."""
    lines = table([make(), make(**difference)])
    assert heading in lines
    assert len([line for line in lines if not line.startswith(" ")]) == 2


def test_preparation_comes_first_in_a_block_of_its_own(make: Make) -> None:
    """Downloads and builds belong to no cluster, and are neither warm nor cold."""
    lines = table([make(), make(Phase.BINARIES, 64.0, provider="", kubernetes="")])
    assert lines[0] == "preparation"
    assert _cells(lines[2]) == ["binaries", "1", "64.00 s", "64.00 s", "64.00 s"]


def test_failures_are_counted_in_a_column_that_is_there_only_then(make: Make) -> None:
    """A phase that never succeeded has dashes for figures, and the failure is not among the samples."""
    assert "failed" not in table([make()])[1]
    lines = table([make(seconds=1.0), make(seconds=60.0, ok=False), make(Phase.RESET, ok=False)])
    assert _cells(lines[1])[-1] == "failed"
    assert _cells(lines[2]) == ["create", "cold, fresh", "1", "1.00 s", "1.00 s", "1.00 s", "1"]
    assert _cells(lines[3]) == ["reset", "cold, fresh", "0", "-", "-", "-", "1"]


def test_columns_line_up_over_all_blocks(make: Make) -> None:
    """Every figure ends where its heading ends."""
    lines = table([make(seconds=0.001), make(Phase.KUBECTL_READY, 200.0, kubernetes="v1.35.4", start="template")])
    rows = [line for line in lines if line.startswith(" ")]
    assert len({len(line) for line in rows}) == 1


def test_a_zero_is_a_figure(make: Make) -> None:
    """A lease that nobody had to wait for is shown as zero, not as missing."""
    assert "0.0 ms" in table([make(Phase.LEASE_WAIT, 0.0)])[2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 ms"),
        (0.0431, "43.1 ms"),
        (0.9994, "999.4 ms"),
        (0.9996, "1.00 s"),
        (2.5, "2.50 s"),
        (99.99, "99.99 s"),
        (99.996, "1 min 40 s"),
        (245.2, "4 min 05 s"),
        (3599.9, "60 min 00 s"),
    ],
)
def test_durations_have_the_unit_that_fits(seconds: float, text: str) -> None:
    """Milliseconds below a second, minutes above a hundred seconds, and no 60 s or 1000 ms by rounding."""
    assert duration(seconds) == text
