"""Why an object is not as wanted: its last status, its latest events, and those of the pods below it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_kina.cluster.api import HASTY_TIMEOUT, Api
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import ApiError

_OBJECTS = 3
_PODS = 5
_EVENTS = 8
_STATUS_CHARACTERS = 1500
_CONTROLLED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")


def explain(api: Api, target: Target, items: Sequence[dict[str, Any]], *, seen: int) -> str:
    """A few lines per object for the first few of ``items``; never raises for what cannot be had.

    ``items`` are those of the ``seen`` objects that are not as wanted.
    """
    if not seen:
        where = f" in namespace {target.namespace}" if target.namespace else ""
        return f"{target.subject} does not exist" if target.name else f"there are no {target.subject}{where}"
    if not items:
        return "each of them is as wanted, but their number is not"
    parts = [_object(api, item) for item in items[:_OBJECTS]]
    more = [f"... and {len(items) - _OBJECTS} more"] if len(items) > _OBJECTS else []
    return "\n".join(parts + more)


def read_all(api: Api, plural: str, namespace: str | None) -> list[dict[str, Any]]:
    """All pods or events of a namespace, or of all. Does not wait long. Raises ApiError."""
    scope = f"namespaces/{namespace}/" if namespace else ""
    call = api.call("list", plural, namespace)
    answer = api.request("GET", f"/api/v1/{scope}{plural}", call, timeout=HASTY_TIMEOUT)
    return list(answer["items"])


def event_line(event: dict[str, Any]) -> str:
    """One event: when, type, reason, object, message, and how often."""
    about = event.get("involvedObject") or event.get("regarding") or {}
    times = (event.get("series") or {}).get("count") or event.get("count") or 1
    often = f" (x{times})" if times > 1 else ""
    what = f"{about.get('kind', '?').lower()}/{about.get('name', '?')}"
    message = " ".join((event.get("message") or event.get("note") or "").split())
    return f"{event_time(event)} {event.get('type')} {event.get('reason')} {what}: {message}{often}"


def event_time(event: dict[str, Any]) -> str:
    """When it happened last, as RFC 3339 text: these sort as they happened (to the second)."""
    series = (event.get("series") or {}).get("lastObservedTime")
    seen = series or event.get("lastTimestamp") or event.get("eventTime")
    return str(seen or event["metadata"].get("creationTimestamp") or "")


def pod_line(pod: dict[str, Any]) -> str:
    """One pod: phase, node, and every reason that it or a container gives for not running."""
    status = pod.get("status", {})
    reasons = [status.get("reason"), *(_reason(entry) for entry in _waiting(status))]
    reasons += [
        f"{entry['type']}=False ({entry.get('reason')}: {entry.get('message', '')})"
        for entry in status.get("conditions") or ()
        if entry.get("status") == "False" and entry.get("reason")
    ]
    where = pod.get("spec", {}).get("nodeName") or "no node"
    shown = "; ".join(reason for reason in reasons if reason)
    return f"pod/{pod['metadata']['name']} {status.get('phase')} on {where}" + (f": {shown}" if shown else "")


def _object(api: Api, item: dict[str, Any]) -> str:
    name = f"{item.get('kind', '?')} {item['metadata']['name']}"
    lines = [f"{name}: generation {item['metadata'].get('generation', '-')}, last status {_status(item)}"]
    if _is_unseen(item):
        lines.append("  no controller or scheduler has looked at it; in the profile 'api' there are none")
    if finalizers := item["metadata"].get("finalizers"):
        deleted = item["metadata"].get("deletionTimestamp", "not deleted")
        lines.append(f"  finalizers {', '.join(finalizers)} (deletion: {deleted})")
    pods = _pods(api, item)
    lines += [f"  {pod_line(pod)}" for pod in pods[:_PODS]]
    lines += _events(api, [item, *pods[:_PODS]])
    return "\n".join(lines)


def _is_unseen(item: dict[str, Any]) -> bool:
    """Whether those who would make it ready have left no trace; the API server itself says of pods that they wait."""
    status = item.get("status") or {}
    return not status.get("conditions") if item.get("kind") == "Pod" else item.get("kind") in _CONTROLLED and not status


def _status(item: dict[str, Any]) -> str:
    text = json.dumps(item.get("status", {}), sort_keys=True)
    return text if len(text) <= _STATUS_CHARACTERS else f"{text[:_STATUS_CHARACTERS]}... (cut)"


def _pods(api: Api, item: dict[str, Any]) -> list[dict[str, Any]]:
    namespace = item["metadata"].get("namespace")
    if not namespace or item.get("kind") == "Pod":
        return []
    try:
        return [pod for pod in read_all(api, "pods", namespace) if _is_below(pod, item)]
    except ApiError:
        return []


def _is_below(pod: dict[str, Any], item: dict[str, Any]) -> bool:
    if any(owner["uid"] == item["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences") or ()):
        return True
    if item.get("kind") != "Deployment":
        return False
    labels = pod["metadata"].get("labels") or {}
    wanted = item["spec"]["selector"].get("matchLabels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _events(api: Api, items: Sequence[dict[str, Any]]) -> list[str]:
    namespace = items[0]["metadata"].get("namespace") or "default"
    names = {(item.get("kind") or "Pod", item["metadata"]["name"]) for item in items}
    try:
        about = [event for event in read_all(api, "events", namespace) if _about(event) in names]
    except ApiError as error:
        return [f"  events could not be read: {error.message}"]
    latest = sorted(about, key=event_time)[-_EVENTS:]
    return [f"  event {event_line(event)}" for event in latest] or ["  no events"]


def _about(event: dict[str, Any]) -> tuple[str, str]:
    about = event.get("involvedObject") or {}
    return about.get("kind", ""), about.get("name", "")


def _waiting(status: dict[str, Any]) -> list[dict[str, Any]]:
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [state for entry in containers for state in (entry.get("state") or {}).values() if state.get("reason")]


def _reason(state: dict[str, Any]) -> str:
    return f"{state['reason']} {state.get('message', '')}".strip()
