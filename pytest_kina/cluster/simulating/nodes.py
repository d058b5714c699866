"""Further simulated nodes, while a cluster runs: objects that the kwok of the cluster keeps Ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster.resources import ResourceType
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import NotFound
from pytest_kina.waiting import Deadline

if TYPE_CHECKING:
    from pytest_kina.cluster.connection import Connection

LABEL = "pytest-kina/simulation"
"""Says which simulation a node belongs to."""
CAPACITY: Mapping[str, str] = {"cpu": "1k", "memory": "1Ti", "pods": "1M"}
"""What a node has when nothing is said about it: as good as everything."""
_FIRST = IPv4Address("10.96.0.1")  # clear of the nodes that a spec asks for
_AT_ONCE = 8
_SECONDS = 30.0
_PER_NODE = 0.05


def create(
    connection: Connection, owner: str, names: Sequence[str], node: Mapping[str, Any], offset: int
) -> list[dict[str, Any]]:
    """Make the nodes and return them when pods can be scheduled to all of them. Raises ApiError.

    ``node`` has their ``labels``, ``taints`` (as in a node's spec) and ``capacity``; ``offset`` is the number of the
    first address.
    """
    kind = connection.discovery.find("nodes", "v1")

    def post(number: int, name: str) -> None:
        call = connection.api.call("create", f"nodes/{name}")
        document = _manifest(owner, name, node, _FIRST + offset + number)
        connection.api.request("POST", kind.path(), call, body=document)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(post, range(len(names)), names))
    taints = {(taint["key"], taint["effect"]) for taint in node["taints"]}

    def usable(item: dict[str, Any]) -> bool:
        conditions = {one["type"]: one["status"] for one in item["status"].get("conditions", ())}
        now = {(taint["key"], taint["effect"]) for taint in item["spec"].get("taints", ())}
        return conditions.get("Ready") == "True" and now <= taints

    found: list[dict[str, Any]] = wait_for(
        connection.api, _of(kind, owner), until=usable, count=len(names), deadline=_deadline(len(names))
    )
    return found


def delete(connection: Connection, owner: str, names: Sequence[str]) -> None:
    """Remove the nodes of ``owner``, and the pods on them at once: no kubelet is left to end them. Raises ApiError."""
    kind = connection.discovery.find("nodes", "v1")
    query = [("labelSelector", f"{LABEL}={owner}")]
    connection.api.request("DELETE", kind.path(), connection.api.call("delete", f"nodes ({owner})"), query=query)
    wait_for(connection.api, _of(kind, owner), deleted=True, deadline=_deadline(len(names)))
    pods = connection.discovery.find("pods", "v1")
    listed = connection.api.request("GET", pods.path(), connection.api.call("list", "pods"))["items"]
    gone = frozenset(names)
    for pod in (one["metadata"] for one in listed if one["spec"].get("nodeName") in gone):
        path = pods.path(pod["namespace"], pod["name"])
        call = connection.api.call("delete", f"pods/{pod['name']}", pod["namespace"])
        with suppress(NotFound):  # the pod garbage collector may have been faster
            connection.api.request("DELETE", path, call, query=[("gracePeriodSeconds", "0")])


def count(connection: Connection) -> int:
    """How many nodes the cluster has. Raises ApiError."""
    call, path = connection.api.call("count", "nodes"), connection.discovery.find("nodes", "v1").path()
    answer = connection.api.request("GET", path, call, query=[("limit", "1")])
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))


def _manifest(owner: str, name: str, node: Mapping[str, Any], address: IPv4Address) -> dict[str, Any]:
    usual = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "type": "kwok"}
    addresses = [{"type": "InternalIP", "address": str(address)}, {"type": "Hostname", "address": name}]
    capacity = {**CAPACITY, **node["capacity"]}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**usual, **node["labels"], LABEL: owner}},
        "spec": {"taints": list(node["taints"])},
        "status": {"addresses": addresses, "capacity": capacity, "allocatable": capacity},
    }


def _of(kind: ResourceType, owner: str) -> Target:
    return Target(kind=kind, selector=f"{LABEL}={owner}")


def _deadline(nodes: int) -> Deadline:
    return Deadline(_SECONDS + nodes * _PER_NODE)
