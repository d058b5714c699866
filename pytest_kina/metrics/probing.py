"""Measurements of one cluster: its processes, its directory, and what its API server answers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from pytest_kina import _supervisor
from pytest_kina.cluster import latency
from pytest_kina.cluster.refusals import Call
from pytest_kina.errors import ApiError
from pytest_kina.metrics.samples import RELEASE, Metric
from pytest_kina.metrics.usage import Usage, disk_bytes, family, usage

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster

_PATHS = ("/readyz", "/api/v1/namespaces", "/api/v1/namespaces/kube-system/configmaps")
_COUNTED = {
    "namespaces": "/api/v1/namespaces",
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "configmaps": "/api/v1/configmaps",
    "secrets": "/api/v1/secrets",
    "events": "/api/v1/events",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


def measure(cluster: Cluster, *, when: str, worker: str, probe: int = 0) -> Metric:
    """What ``cluster`` takes up now. With ``probe``, so many requests are timed, and its objects are counted."""
    asked = latency.take(cluster.name) if when == RELEASE else ()
    probed: tuple[float, ...] = ()
    objects: dict[str, int] = {}
    if probe:
        objects = count_objects(cluster)
        probed = probe_latency(cluster, probe)
        latency.take(cluster.name)
    return Metric(
        kind="cluster",
        name=cluster.name,
        when=when,
        worker=worker,
        usage=processes(cluster.directory).to_json(),
        disk=disk_bytes(cluster.directory),
        requests=asked,
        probe=probed,
        objects=objects,
        provider=cluster.provider,
        spec=cluster.spec.to_json(),
    )


def processes(directory: Path) -> Usage:
    """What the local processes of the cluster in ``directory`` take up; nothing for a cluster that is elsewhere."""
    try:
        supervisor = json.loads((directory / _supervisor.IDENTITY_FILE).read_bytes())
        pid = int(supervisor["pid"])
        alive = _supervisor.start_ticks(pid) == supervisor["start_ticks"]
    except (OSError, ValueError, KeyError, TypeError):
        return Usage()
    return usage(family(pid)) if alive else Usage()


def probe_latency(cluster: Cluster, count: int) -> tuple[float, ...]:
    """Seconds that ``count`` small requests took, one after the other; ends at the first that fails."""
    api, seconds = cluster.connection.api, []
    for path in itertools.islice(itertools.cycle(_PATHS), count):
        began = perf_counter()
        try:
            api.request("GET", path, _call(cluster, path), accept="*/*")
        except ApiError:
            break
        seconds.append(perf_counter() - began)
    return tuple(seconds)


def count_objects(cluster: Cluster) -> dict[str, int]:
    """How many objects there are of the usual types, as the server counts them; a type it lacks is left out."""
    found = {}
    for name, path in _COUNTED.items():
        try:
            answer = cluster.connection.api.request("GET", path, _call(cluster, path), query=[("limit", "1")])
        except ApiError:
            continue
        found[name] = len(answer["items"]) + int(answer["metadata"].get("remainingItemCount") or 0)
    return found


def _call(cluster: Cluster, path: str) -> Call:
    return cluster.connection.api.call("get", path)
