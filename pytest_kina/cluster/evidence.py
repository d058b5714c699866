"""What a cluster has to say about a failed test: events, pods, component logs; capped, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pytest_kina.cluster.explanations import event_line, event_time, pod_line, read_all

if TYPE_CHECKING:
    from pytest_kina.cluster.cluster import Cluster

_LOG_LINES = 20
_EVENTS = 50
_PODS = 50
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(?<=[Bb]earer )[^\s\"']+"
    r"|(?<=client-key-data: )\S+",
    re.DOTALL,
)


def collect(cluster: Cluster, namespace: str | None, *, limit_bytes: int) -> str:
    """What can be said about ``namespace`` (None: all) and the components, in at most ``limit_bytes`` of UTF-8.

    Events end with the newest. Never raises: a part that cannot be had says why. Keys and tokens are cut out, and
    Secrets are not read.
    """
    where = f"namespace {namespace}" if namespace else "all namespaces"
    parts = [
        _part(f"events ({where})", lambda: _events(cluster, namespace)),
        _part(f"pods ({where})", lambda: _pods(cluster, namespace)),
        _part("component logs", lambda: _logs(cluster)),
    ]
    room, shown = limit_bytes, []
    for number, part in enumerate(parts):  # what one part leaves over goes to those after it
        shown.append(_capped(_SECRET.sub("[removed]", part), room // (len(parts) - number) - 1))
        room -= len(shown[-1].encode()) + 1
    return _capped("\n".join(shown), limit_bytes)


def _part(title: str, content: Callable[[], Iterable[str]]) -> str:
    try:
        lines = list(content()) or ["none"]
    except Exception as error:  # evidence of a failure must not become another one
        lines = [f"could not be had: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"]
    return "\n".join([f"--- {title}", *lines])


def _events(cluster: Cluster, namespace: str | None) -> list[str]:
    events = read_all(cluster.connection.api, "events", namespace)
    return [event_line(event) for event in sorted(events, key=event_time)[-_EVENTS:]]


def _pods(cluster: Cluster, namespace: str | None) -> list[str]:
    pods = read_all(cluster.connection.api, "pods", namespace)
    unready_first = sorted(pods, key=lambda pod: pod.get("status", {}).get("phase") in {"Running", "Succeeded"})
    more = [f"... and {len(pods) - _PODS} more"] if len(pods) > _PODS else []
    return [pod_line(pod) for pod in unready_first[:_PODS]] + more


def _logs(cluster: Cluster) -> list[str]:
    logs = cluster.component_logs(_LOG_LINES)
    return [line for name, text in logs.items() for line in (f"[{name}]", text or "(empty)")]


def _capped(text: str, limit: int) -> str:
    """The end of ``text`` is worth more than its beginning, except for the first line, which says what it is."""
    content = text.encode()
    if len(content) <= limit:
        return text
    first, _, rest = text.partition("\n")
    head = f"{first}\n... (cut)\n".encode()
    room = limit - len(head)
    if room <= 0:
        return content[: max(limit, 0)].decode(errors="ignore")
    return (head + rest.encode()[-room:]).decode(errors="ignore")
