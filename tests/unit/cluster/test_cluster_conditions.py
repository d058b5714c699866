"""When objects count as ready, and when waiting for them is in vain."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kina.cluster.conditions import has_condition, hopeless, is_ready


def item(kind: str, *, generation: int = 1, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """An object with a status."""
    return {"kind": kind, "metadata": {"name": "a", "generation": generation}, "spec": spec or {}, "status": status}


def condition(kind: str, status: str = "True", **more: Any) -> list[dict[str, Any]]:
    """A list of one condition."""
    return [{"type": kind, "status": status, **more}]


DONE = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"observedGeneration": 0}, False),
        ({"observedGeneration": None}, False),
        ({"updatedReplicas": 1}, False),
        ({"replicas": 3}, False),
        ({"availableReplicas": 1}, False),
    ],
    ids=["done", "old status", "no status", "not updated", "old pod left", "not available"],
)
def test_deployment_is_ready_when_it_is_rolled_out(change: dict[str, Any], expected: object) -> None:
    """All replicas are of the new template and available, none of the old one is left, and the status is current."""
    status = {key: value for key, value in {**DONE, **change}.items() if value is not None}
    assert is_ready(item("Deployment", spec={"replicas": 2}, **status)) is expected


def test_deployment_scaled_to_nothing_is_ready() -> None:
    """Zero replicas have no counts in the status; that is not the same as an unknown status."""
    assert is_ready(item("Deployment", spec={"replicas": 0}, observedGeneration=1))
    assert not is_ready(item("Deployment", spec={"replicas": 0}))


@pytest.mark.parametrize(
    ("kind", "spec", "status", "expected"),
    [
        ("StatefulSet", {"replicas": 2}, {"readyReplicas": 2, "updateRevision": "b", "currentRevision": "b"}, True),
        ("StatefulSet", {"replicas": 2}, {"readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"}, False),
        ("StatefulSet", {"replicas": 2}, {"readyReplicas": 1, "updateRevision": "b", "currentRevision": "b"}, False),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
            True,
        ),
        (
            "DaemonSet",
            {},
            {
                "observedGeneration": 1,
                "desiredNumberScheduled": 2,
                "updatedNumberScheduled": 2,
                "numberAvailable": 2,
            },
            True,
        ),
        (
            "DaemonSet",
            {},
            {
                "observedGeneration": 1,
                "desiredNumberScheduled": 2,
                "updatedNumberScheduled": 2,
                "numberAvailable": 1,
            },
            False,
        ),
        ("DaemonSet", {}, {}, False),
        ("ReplicaSet", {"replicas": 1}, {"readyReplicas": 1}, True),
        ("ReplicaSet", {}, {}, False),
        ("Job", {}, {"conditions": condition("Complete")}, True),
        ("Job", {}, {"conditions": condition("Complete", "False")}, False),
        ("Job", {}, {}, False),
        ("Pod", {}, {"conditions": condition("Ready")}, True),
        ("PersistentVolumeClaim", {}, {"phase": "Bound"}, True),
        ("PersistentVolumeClaim", {}, {"phase": "Pending"}, False),
        ("Namespace", {}, {"phase": "Terminating"}, False),
        ("ConfigMap", {}, {}, True),
        ("Widget", {}, {}, True),
    ],
)
def test_each_kind_has_its_own_readiness(
    kind: str, spec: dict[str, Any], status: dict[str, Any], expected: object
) -> None:
    """Workloads count replicas, others look at a condition or a phase, and what has none only has to exist."""
    assert is_ready(item(kind, spec=spec, **status)) is expected


def test_condition_may_ask_for_any_status_in_any_case() -> None:
    """`Type` means True, `Type=Status` that status; letters may be large or small."""
    pod = item("Pod", conditions=condition("Ready", "False"))
    assert not has_condition(pod, "Ready")
    assert has_condition(pod, "ready=false")
    assert not has_condition(pod, "Initialized=False")


@pytest.mark.parametrize(
    "stale",
    [
        item("Widget", generation=2, observedGeneration=1, conditions=condition("Synced")),
        item("Widget", generation=2, conditions=condition("Synced", observedGeneration=1)),
    ],
    ids=["whole status", "one condition"],
)
def test_condition_older_than_the_spec_does_not_count(stale: dict[str, Any]) -> None:
    """A controller that has not seen the change yet says nothing about it."""
    assert not has_condition(stale, "Synced")
    assert not has_condition(stale, "Synced=True")


def test_ready_works_for_kinds_without_such_a_condition() -> None:
    """`Ready` of a Deployment is its rollout; a custom kind without conditions is not ready."""
    assert has_condition(item("Deployment", spec={"replicas": 2}, **DONE), "Ready")
    assert not has_condition(item("Deployment", spec={"replicas": 2}, **DONE), "Ready=False")
    assert not has_condition(item("Widget"), "Ready")


@pytest.mark.parametrize(
    ("thing", "wanted", "word"),
    [
        (item("Job", conditions=condition("Failed", reason="BackoffLimitExceeded")), None, "BackoffLimitExceeded"),
        (item("Job", conditions=condition("Failed")), "Complete", "failed"),
        (item("Pod", phase="Succeeded"), "Ready", "ended (Succeeded)"),
        (
            item("Deployment", conditions=condition("Progressing", "False", reason="ProgressDeadlineExceeded")),
            None,
            "stopped",
        ),
    ],
)
def test_what_cannot_happen_any_more_is_noticed(thing: dict[str, Any], wanted: str | None, word: str) -> None:
    """A failed job, an ended pod and a stopped rollout need not be waited for until the time-out."""
    assert word in str(hopeless(thing, wanted))


@pytest.mark.parametrize(
    ("thing", "wanted"),
    [
        (item("Job", conditions=condition("Failed")), "Failed"),
        (item("Job"), None),
        (item("Pod", phase="Failed"), "Initialized"),
        (item("Pod", phase="Pending"), None),
        (item("Deployment", conditions=condition("Progressing")), None),
    ],
)
def test_hope_remains_for_everything_else(thing: dict[str, Any], wanted: str | None) -> None:
    """Who waits for the failure itself, or for something in progress, goes on waiting."""
    assert hopeless(thing, wanted) is None
