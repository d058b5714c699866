"""Deleting a namespace, also where no namespace controller runs (profile ``api``).

The order follows the namespace controller (kube-controller-manager ``pkg/controller/namespace/deletion``): mark the
namespace Terminating, so that nothing new can be made in it, delete what it holds, list again until there is nothing,
then remove its finalizer with ``PUT .../finalize``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_kina.cluster.connection import Connection
from pytest_kina.cluster.resources import ResourceType
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import ApiError, NotFound, WaitTimeoutError
from pytest_kina.waiting import Deadline, wait_until

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LOOK_AGAIN = 0.05
"""Seconds between two looks at what a finalizer holds; whose controller is a program of the test."""


@dataclass(frozen=True, slots=True)
class _Left:
    kind: ResourceType
    names: tuple[str, ...]
    finalizers: tuple[str, ...]

    def __str__(self) -> str:
        held = f" (finalizers: {', '.join(self.finalizers)})" if self.finalizers else ""
        return f"{self.kind.full_name}: {', '.join(self.names)}{held}"


def delete_namespace(connection: Connection, name: str, *, wait: bool, deadline: Deadline) -> None:
    """Delete the namespace ``name``; with ``wait``, return when it is gone.

    Without controllers it is emptied and finalised here: at once if nothing holds it, and what a finalizer holds is
    waited for only with ``wait`` (otherwise the namespace stays Terminating, as it would on any cluster).
    Raises NotFound, and WaitTimeoutError at the deadline, naming what is left and its finalizers.
    """
    target = Target(kind=connection.discovery.find("namespaces", "v1"), name=name)
    api, path = connection.api, target.kind.path(None, name)
    api.request("DELETE", path, api.call("delete", target.subject), query=(("propagationPolicy", "Background"),))
    if not connection.traits.controllers:
        _empty(connection, name, deadline if wait else Deadline(0.0))
    if wait:
        wait_for(api, target, deleted=True, deadline=deadline)


def _empty(connection: Connection, namespace: str, deadline: Deadline) -> None:
    connection.discovery.refresh()  # a type that another process has added would be left behind
    kinds = [kind for kind in connection.discovery.types() if kind.namespaced and {"list", "delete"} <= kind.verbs]
    left = [found for kind in kinds if (found := _look(connection, kind, namespace))]
    for found in left:
        _delete_all(connection, found, namespace)
    left = _still_there(connection, left, namespace)
    if left and not deadline.expired:
        wait_until(lambda: not _still_there(connection, left, namespace), deadline, interval=_LOOK_AGAIN)
        left = _still_there(connection, left, namespace)
    if not left:
        _finalise(connection, namespace)
    elif deadline.seconds:
        raise WaitTimeoutError(
            f"namespace {namespace} is not empty after {deadline.seconds:g} s:\n  " + "\n  ".join(map(str, left)),
            next_step="let the controller that owns these finalizers run until its objects are gone",
            reason="Timeout",
        )


def _still_there(connection: Connection, left: list[_Left], namespace: str) -> list[_Left]:
    return [found for before in left if (found := _look(connection, before.kind, namespace))]


def _look(connection: Connection, kind: ResourceType, namespace: str) -> _Left | None:
    api = connection.api
    try:
        call = api.call("list", kind.full_name, namespace)
        items = api.request("GET", kind.path(namespace), call, accept=_METADATA)["items"]
    except NotFound:  # its CRD was deleted since discovery
        return None
    if not items:
        return None
    names = tuple(item["metadata"]["name"] for item in items)
    finalizers = {entry for item in items for entry in item["metadata"].get("finalizers") or ()}
    return _Left(kind, names, tuple(sorted(finalizers)))


def _delete_all(connection: Connection, left: _Left, namespace: str) -> None:
    """Delete in the background: the default of ``batch/v1`` Jobs is to orphan, a finalizer that nobody removes."""
    api, query = connection.api, (("gracePeriodSeconds", "0"), ("propagationPolicy", "Background"))
    call = api.call("delete all", left.kind.full_name, namespace)
    if "deletecollection" in left.kind.verbs:
        api.request("DELETE", left.kind.path(namespace), call, query=query)
        return
    for name in left.names:
        try:
            api.request("DELETE", left.kind.path(namespace, name), call, query=query)
        except NotFound:
            continue


def _finalise(connection: Connection, namespace: str) -> None:
    api = connection.api
    path, call = f"/api/v1/namespaces/{namespace}", api.call("finalise", f"namespaces/{namespace}")
    try:
        body: dict[str, Any] = api.request("GET", path, call)
        body["spec"]["finalizers"] = []
        api.request("PUT", f"{path}/finalize", call, body=body)
    except NotFound:
        return
    except ApiError as error:
        if error.status != 409:
            raise
        _finalise(connection, namespace)
