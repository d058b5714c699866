"""Deleting a namespace, also where no namespace controller runs (profile ``api``).

The order follows the namespace controller (kube-controller-manager ``pkg/controller/namespace/deletion``): mark the
namespace Terminating, so that nothing new can be made in it, delete what it holds, list again until there is nothing,
then remove its finalizer with ``PUT .../finalize``. As there, who does not wait leaves that to others: a thread, which
empties all namespaces of the last second in one go, because it has to list every type anyway.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pytest_kina.cluster.connection import Connection
from pytest_kina.cluster.listing import METADATA, types_of
from pytest_kina.cluster.resources import ResourceType
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import ApiError, NotFound, WaitTimeoutError
from pytest_kina.waiting import Deadline, wait_until

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.05
"""Seconds between two looks at what a finalizer holds; whose controller is a program of the test."""

_GATHER = 1.0
"""Seconds in which namespaces gather until all of them are emptied."""

_AT_EXIT = 5.0
"""Seconds that an ending process gives to the emptying of what it has deleted."""


@dataclass(frozen=True, slots=True)
class _Left:
    kind: ResourceType
    namespace: str
    names: tuple[str, ...]
    finalizers: tuple[str, ...]

    def __str__(self) -> str:
        held = f" (finalizers: {', '.join(self.finalizers)})" if self.finalizers else ""
        return f"{self.kind.full_name}: {', '.join(self.names)}{held}"


def delete_namespace(connection: Connection, name: str, *, wait: bool, deadline: Deadline) -> None:
    """Delete the namespace ``name``; with ``wait``, return when it is gone.

    Without controllers it is emptied and finalised here: with ``wait`` now, and what a finalizer holds is waited for;
    else within about a second, and what a finalizer holds stays in a Terminating namespace, as on any cluster.
    Raises NotFound, and WaitTimeoutError at the deadline, naming what is left and its finalizers.
    """
    target = Target(kind=connection.discovery.find("namespaces", "v1"), name=name)
    api, path = connection.api, target.kind.path(None, name)
    api.request("DELETE", path, api.call("delete", target.subject), query=(("propagationPolicy", "Background"),))
    if not wait:
        if not connection.traits.controllers:
            _gathered.add(connection, name)
        return
    if not connection.traits.controllers:
        _empty_now(connection, name, deadline)
    wait_for(api, target, deleted=True, deadline=deadline)


class _Gathered:
    """The namespaces that are to be emptied soon, by connection, each with a thread that does it once."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a fork has none of the threads, and one of them may have held the lock."""
        self._guard = threading.Lock()
        self._names: dict[Connection, set[str]] = {}
        self._threads: set[threading.Thread] = set()
        self._hurry = threading.Event()

    def add(self, connection: Connection, namespace: str) -> None:
        with self._guard:
            if connection in self._names:
                self._names[connection].add(namespace)
                return
            self._names[connection] = {namespace}
            thread = threading.Thread(target=self._empty, args=(connection,), name="kina-emptying", daemon=True)
            self._threads.add(thread)
        thread.start()

    def finish(self) -> None:
        """Empty all that has gathered, now; for the end of the process."""
        self._hurry.set()
        deadline = Deadline(_AT_EXIT)
        for thread in list(self._threads):
            thread.join(deadline.remaining)

    def _empty(self, connection: Connection) -> None:
        self._hurry.wait(_GATHER)
        with self._guard:
            names = self._names.pop(connection)
        try:
            _empty(connection, names)
        except Exception as error:  # the cluster has gone meanwhile, most likely, and its namespaces with it
            _log.info("namespaces %s are not emptied: %s", ", ".join(sorted(names)), error)
        self._threads.discard(threading.current_thread())


_gathered = _Gathered()
atexit.register(_gathered.finish)
os.register_at_fork(after_in_child=_gathered.forget)


def _empty_now(connection: Connection, namespace: str, deadline: Deadline) -> None:
    left = _empty(connection, {namespace})
    if not left:
        return
    wait_until(lambda: not _still_there(connection, left), deadline, interval=_LOOK_AGAIN)
    if left := _still_there(connection, left):
        raise WaitTimeoutError(
            f"namespace {namespace} is not empty after {deadline.seconds:g} s:\n  " + "\n  ".join(map(str, left)),
            next_step="let the controller that owns these finalizers run until its objects are gone",
            reason="Timeout",
        )
    finalise(connection, namespace)


def _empty(connection: Connection, namespaces: Collection[str]) -> list[_Left]:
    """Delete what the namespaces hold, and let those go that hold nothing then; what the others hold."""
    connection.discovery.refresh()  # a type that another process has added would be left behind
    kinds = [kind for kind in types_of(connection) if kind.namespaced and "delete" in kind.verbs]
    found = [each for kind in kinds for each in _look(connection, kind, namespaces)]
    for each in found:
        _delete_all(connection, each)
    left = _still_there(connection, found)
    for namespace in set(namespaces) - {each.namespace for each in left}:
        finalise(connection, namespace)
    return left


def _still_there(connection: Connection, left: Collection[_Left]) -> list[_Left]:
    return [found for before in left for found in _look(connection, before.kind, {before.namespace})]


def _look(connection: Connection, kind: ResourceType, namespaces: Collection[str]) -> list[_Left]:
    """What these namespaces hold of one type, with one request."""
    api, one = connection.api, next(iter(namespaces)) if len(namespaces) == 1 else None
    try:
        call = api.call("list", kind.full_name, one)
        items = api.request("GET", kind.path(one), call, accept=METADATA)["items"] or ()  # an empty one is null
    except NotFound:  # its CRD was deleted since discovery
        return []
    held: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        if (namespace := item["metadata"]["namespace"]) in namespaces:
            held.setdefault(namespace, []).append(item["metadata"])
    return [_left(kind, namespace, found) for namespace, found in held.items()]


def _left(kind: ResourceType, namespace: str, found: list[dict[str, Any]]) -> _Left:
    finalizers = {entry for metadata in found for entry in metadata.get("finalizers") or ()}
    return _Left(kind, namespace, tuple(metadata["name"] for metadata in found), tuple(sorted(finalizers)))


def _delete_all(connection: Connection, left: _Left) -> None:
    """Delete in the background: the default of ``batch/v1`` Jobs is to orphan, a finalizer that nobody removes."""
    api, namespace = connection.api, left.namespace
    query = (("gracePeriodSeconds", "0"), ("propagationPolicy", "Background"))
    call = api.call("delete all", left.kind.full_name, namespace)
    if "deletecollection" in left.kind.verbs:
        api.request("DELETE", left.kind.path(namespace), call, query=query)
        return
    for name in left.names:
        try:
            api.request("DELETE", left.kind.path(namespace, name), call, query=query)
        except NotFound:
            continue


def finalise(connection: Connection, namespace: str) -> None:
    """Let a namespace that is empty and being deleted go, as its controller would. Raises ApiError."""
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
        finalise(connection, namespace)
