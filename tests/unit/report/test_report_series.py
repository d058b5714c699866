"""What may be compared with what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_kina.report.series import PREPARATION, bucket, comparable, place, samples, warmth
from pytest_kina.timing import Phase, TimingEvent

Make = Callable[..., TimingEvent]


def test_a_series_name_says_all_that_makes_it_comparable(make: Make) -> None:
    """Phase, provider, minor version, profile, nodes, start and load are in the name, and no test's name."""
    (series,) = comparable([make(nodeid="tests/test_a.py::test_x", start="template", concurrency=3, nodes=2)])
    assert series.key.name == "kina.create[embedded-k8s1.36-workloads-n2-template-c3-4]"
    assert series.key.fullname == "kina::create[embedded-k8s1.36-workloads-n2-template-c3-4]"


@pytest.mark.parametrize(
    "difference",
    [
        {"provider": "kind"},
        {"kubernetes": "v1.35.4"},
        {"profile": "api"},
        {"nodes": 3},
        {"start": "reused"},
        {"concurrency": 2},
        {"phase": Phase.RESET},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_what_differs_in_a_part_of_the_key_is_another_series(difference: dict[str, object], make: Make) -> None:
    """Each part of the key keeps samples apart."""
    assert len(comparable([make(), make(**difference)])) == 2


@pytest.mark.parametrize(
    "difference",
    [{"kubernetes": "v1.36.4"}, {"provider_version": "0.2.0"}, {"cluster": "kina-1-1-bb"}, {"nodeid": "x"}],
)
def test_patch_versions_and_names_do_not_split_a_series(difference: dict[str, object], make: Make) -> None:
    """A new patch of Kubernetes or of the provider is exactly what the comparison is for."""
    (series,) = comparable([make(seconds=1.0), make(seconds=2.0, **difference)])
    assert series.seconds == (1.0, 2.0)


def test_versions_that_took_part_are_listed(make: Make) -> None:
    """A series over two patches names both."""
    (series,) = comparable([make(kubernetes="v1.36.4"), make(kubernetes="v1.36.3"), make(provider_version="0.2.0")])
    assert series.kubernetes == ("v1.36.3", "v1.36.4")
    assert series.provider_versions == ("0.1.0", "0.2.0")


def test_a_failed_phase_is_counted_and_never_measured(make: Make) -> None:
    """A time-out is no duration: it would look like the slowest success."""
    (series,) = comparable([make(seconds=1.0), make(seconds=60.0, ok=False, error="NotReadyError")])
    assert series.seconds == (1.0,)
    assert series.failures == 1


@pytest.mark.parametrize("phase", sorted(PREPARATION))
def test_preparation_is_not_compared(phase: Phase, make: Make) -> None:
    """Downloads and builds depend on the network and on what was there before."""
    assert comparable([make(phase)]) == []


def test_the_first_pull_of_an_image_is_not_compared(make: Make) -> None:
    """A creation that pulled images belongs to no series."""
    assert comparable([make(first_pull=True)]) == []


def test_ready_is_the_sum_of_the_three_phases_of_one_cluster(make: Make) -> None:
    """Create, startup and kubectl_ready of the same cluster add up; another cluster's phases do not mix in."""
    phases = ((Phase.CREATE, 0.5), (Phase.STARTUP, 2.0), (Phase.KUBECTL_READY, 0.25))
    events = [
        make(phase, seconds * factor, cluster=name)
        for name, factor in (("a", 1), ("b", 2))
        for phase, seconds in phases
    ]
    ready = [sample.seconds for sample in samples(events) if sample.phase == "ready"]
    assert ready == [2.75, 5.5]


@pytest.mark.parametrize("missing", [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY])
def test_a_cluster_that_did_not_become_ready_has_no_total(missing: Phase, make: Make) -> None:
    """A failed phase leaves the sum out instead of making it short."""
    phases = (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY)
    events = [make(phase, ok=phase is not missing) for phase in phases]
    assert [sample.phase for sample in samples(events) if sample.phase == "ready"] == []


def test_series_are_in_the_order_of_a_clusters_life(make: Make) -> None:
    """Waiting comes before creating, the total after its parts, deletion last."""
    phases = [Phase.DELETE, Phase.KUBECTL_READY, Phase.LEASE_WAIT, Phase.STARTUP, Phase.RESET, Phase.CREATE]
    names = [series.key.phase for series in comparable([make(phase) for phase in phases])]
    assert names == ["lease_wait", "create", "startup", "kubectl_ready", "ready", "reset", "delete"]


def test_a_phase_nobody_knows_comes_last() -> None:
    """A later version's phase does not break the order."""
    assert place("later") > max(place(phase) for phase in Phase)


@pytest.mark.parametrize(
    ("concurrency", "name"), [(0, "1"), (1, "1"), (2, "2"), (3, "3-4"), (4, "3-4"), (5, "5+"), (64, "5+")]
)
def test_load_is_compared_in_four_buckets(concurrency: int, name: str) -> None:
    """One, two, three or four, and more."""
    assert bucket(concurrency) == name


@pytest.mark.parametrize(
    ("start", "kind"), [("fresh", "cold"), ("template", "cold"), ("spare", "warm"), ("reused", "warm")]
)
def test_warm_is_a_cluster_that_stood_already(start: str, kind: str) -> None:
    """Reused and spare clusters are warm, fresh and template ones cold."""
    assert warmth(start) == kind
