"""When an object is what a test waits for: named conditions, readiness per kind, and when there is no hope left.

Rollouts follow ``kubectl rollout status`` (kubectl ``pkg/polymorphichelpers/rollout_status.go``): a status older than
the spec says nothing, and replicas of the old template count as not yet rolled out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Object = Mapping[str, Any]


def is_current(item: Object) -> bool:
    """True when the status describes the present spec, or the kind does not say."""
    observed = item.get("status", {}).get("observedGeneration")
    return observed is None or observed >= item["metadata"].get("generation", 0)


def has_condition(item: Object, wanted: str) -> bool:
    """True when ``status.conditions`` has ``wanted``: ``Type``, or ``Type=Status`` for another status than True.

    ``Ready`` is also understood for kinds that have no such condition (see :func:`is_ready`).
    """
    name, _, status = wanted.partition("=")
    found = condition(item, name)
    if found is None:
        return name.lower() == "ready" and not status and item.get("kind") in _READY and is_ready(item)
    fresh = found.get("observedGeneration", item["metadata"].get("generation", 0))
    is_stale = fresh < item["metadata"].get("generation", 0) or not is_current(item)
    return not is_stale and str(found.get("status")).lower() == (status or "True").lower()


def condition(item: Object, name: str) -> Object | None:
    """The entry of ``status.conditions`` whose type is ``name``, in any case of letters."""
    for entry in item.get("status", {}).get("conditions") or ():
        if entry.get("type", "").lower() == name.lower():
            return entry  # type: ignore[no-any-return]
    return None


def is_ready(item: Object) -> bool:
    """True when the object is usable, as its kind understands it; kinds without a rule are when they exist."""
    rule = _READY.get(item.get("kind", ""))
    return rule is None or (is_current(item) and rule(item))


def hopeless(item: Object, wanted: str | None) -> str | None:
    """Why ``wanted`` (None: readiness) will not come true without somebody's help; None while it may."""
    name = (wanted or "Ready").lower()
    reason: str | None = None
    if item.get("kind") == "Job" and name in {"ready", "complete"} and has_condition(item, "Failed"):
        reason = f"the job has failed: {_words(condition(item, 'Failed'))}"
    elif item.get("kind") == "Pod" and name == "ready" and _phase(item) in {"Succeeded", "Failed"}:
        reason = f"the pod has ended ({_phase(item)})"
    elif item.get("kind") == "Deployment" and name in {"ready", "available"}:
        progress = condition(item, "Progressing")
        if progress and is_current(item) and progress.get("reason") == "ProgressDeadlineExceeded":
            reason = f"the rollout has stopped: {_words(progress)}"
    return reason


def _deployment(item: Object) -> bool:
    status, wanted = item.get("status", {}), item["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    is_updated = "observedGeneration" in status and updated >= wanted and status.get("replicas", 0) <= updated
    return is_updated and status.get("availableReplicas", 0) >= updated


def _stateful_set(item: Object) -> bool:
    status, wanted = item.get("status", {}), item["spec"].get("replicas", 1)
    partition = (item["spec"].get("updateStrategy", {}).get("rollingUpdate") or {}).get("partition", 0)
    if status.get("readyReplicas", 0) < wanted:
        return False
    if partition:
        return bool(status.get("updatedReplicas", 0) >= wanted - partition)
    return bool(status.get("updateRevision") == status.get("currentRevision"))


def _daemon_set(item: Object) -> bool:
    status = item.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    is_known = "observedGeneration" in status
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    return is_known and bool(updated >= wanted and available >= wanted)


def _replicas(item: Object) -> bool:
    return bool(item.get("status", {}).get("readyReplicas", 0) >= item["spec"].get("replicas", 1))


def _phase(item: Object) -> str:
    return str(item.get("status", {}).get("phase", ""))


def _in_phase(phase: str) -> Callable[[Object], bool]:
    return lambda item: _phase(item) == phase


def _with(name: str) -> Callable[[Object], bool]:
    def is_true(item: Object) -> bool:
        found = condition(item, name)
        return found is not None and found.get("status") == "True"

    return is_true


_READY: dict[str, Callable[[Object], bool]] = {
    "APIService": _with("Available"),
    "CustomResourceDefinition": _with("Established"),
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _with("Complete"),
    "Namespace": _in_phase("Active"),
    "Node": _with("Ready"),
    "PersistentVolumeClaim": _in_phase("Bound"),
    "Pod": _with("Ready"),
    "ReplicaSet": _replicas,
    "ReplicationController": _replicas,
    "StatefulSet": _stateful_set,
}


def _words(entry: Object | None) -> str:
    return f"{(entry or {}).get('reason', '')}: {(entry or {}).get('message', '')}".strip(": ")
