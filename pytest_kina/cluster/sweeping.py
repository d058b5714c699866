"""Sweeping: bringing a running cluster back to what it held, by deleting what has been added since.

Nothing is written back. Whatever was there and has been changed, replaced or removed ends the sweep, and so does what
does not go in time: then only a restore helps. Namespaces and CRDs are deleted first, so that controllers cannot put
anything into them again; then their contents; a namespace is finalised here once it is empty, because its controller
would look again in five seconds only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from pytest_kina.cluster.emptying import finalise
from pytest_kina.cluster.listing import METADATA, items_of, types_of
from pytest_kina.errors import ApiError, NotFound

if TYPE_CHECKING:
    from pytest_kina.cluster.connection import Connection
    from pytest_kina.cluster.resources import ResourceType
    from pytest_kina.waiting import Deadline

Key = tuple[str, str, str]
"""Type, namespace (empty where there is none) and name."""

_EVENTS = ("events", "events.events.k8s.io")
_VOLATILE = frozenset({"resourceVersion", "managedFields", "lastHeartbeatTime", "renewTime"})
"""Fields that the control plane writes without anybody's asking, and those that say who wrote."""

_REPAIRED = "ipaddresses.networking.k8s.io"
"""Follow the services: the API server makes them anew now and then (``pkg/registry/core/service/ipallocator``)."""

_IDENTITY = "apiserver.kubernetes.io/identity"  # label of the lease by which the API server says that it lives
_AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"  # label of APIServices that follow a CRD
_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_FIRST = ("admissionregistration.k8s.io", "apiregistration.k8s.io")  # they might refuse or hide all that follows
_DELETION = (("gracePeriodSeconds", "0"), ("propagationPolicy", "Background"))
_LOOK_AGAIN = 0.02
_ALREADY = (404, 409, 422)
"""Answers to an order that somebody else has just made superfluous; the next look tells."""


class Unswept(Exception):
    """The cluster cannot be brought back this way. ``str()`` says why, in half a sentence."""


@dataclass(frozen=True, slots=True)
class _Found:
    kind: ResourceType
    metadata: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.kind.full_name, self.namespace, self.metadata["name"]

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace", ""))

    @property
    def ends(self) -> bool:
        """Whether somebody has ordered its deletion already."""
        return "deletionTimestamp" in self.metadata

    @property
    def path(self) -> str:
        return self.kind.path(self.namespace or None, self.metadata["name"])

    def __str__(self) -> str:
        return "/".join(part for part in self.key if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that a cluster held at one moment: the types served, and by object its uid, version and digest.

    They are empty for what may be replaced without anybody's asking.
    """

    types: frozenset[str]
    objects: Mapping[Key, tuple[str, str, str]]

    @classmethod
    def take(cls, connection: Connection) -> Self:
        """Now, without events. Raises :class:`~pytest_kina.errors.ApiError`."""
        connection.discovery.refresh()
        objects: dict[Key, tuple[str, str, str]] = {}
        for found, item in _look(connection, accept="application/json"):
            if found.kind.full_name == _REPAIRED:
                objects[found.key] = "", "", ""
            elif found.kind.full_name not in _EVENTS:
                objects[found.key] = found.metadata["uid"], found.metadata["resourceVersion"], _digest(item)
        return cls(types=_served(connection), objects=objects)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"types": sorted(self.types), "objects": [[*key, *known] for key, known in self.objects.items()]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` made. Raises :class:`ValueError`, :class:`LookupError` and :class:`TypeError`."""
        objects = {(kind, space, name): (uid, at, digest) for kind, space, name, uid, at, digest in document["objects"]}
        return cls(types=frozenset(document["types"]), objects=objects)

    def sweep(self, connection: Connection, deadline: Deadline) -> None:
        """Delete all that has been added since, and return when a look at everything shows the inventory again.

        Raises :class:`Unswept`, also for what the API server refuses until the deadline, and
        :class:`~pytest_kina.errors.ApiError` when it cannot be asked.
        """
        changed, refused = "", ""
        while True:
            connection.discovery.refresh()
            found = [found for found, _ in _look(connection)]
            self._refuse_lost(found)
            added = [one for one in found if one.key not in self.objects]
            before, changed = changed, "" if added else self._changed(connection, found)
            if changed and changed == before:  # a controller that was about to correct it would have done so by now
                raise Unswept(f"{changed} was changed")
            if not (added or changed) and _served(connection) == self.types:
                return
            if deadline.expired:
                left = ", ".join(map(str, added[:5])) or changed or "a type that was added"
                raise Unswept(f"{left} did not go within {deadline.seconds:g} s{refused and f': {refused}'}")
            refused = _remove(connection, added)
            time.sleep(_LOOK_AGAIN)

    def _refuse_lost(self, found: Sequence[_Found]) -> None:
        there = {one.key: one for one in found}
        for key, (uid, _, _) in self.objects.items():
            now = there.get(key)
            if uid and (now is None or now.ends or now.metadata["uid"] != uid):
                raise Unswept(f"{'/'.join(part for part in key if part)} was removed or replaced")

    def _changed(self, connection: Connection, found: Sequence[_Found]) -> str:
        """The first object whose content differs; empty when there is none."""
        for one in found:
            uid, version, digest = self.objects[one.key]
            if not uid or one.metadata["resourceVersion"] == version:
                continue
            try:
                content = connection.api.request("GET", one.path, connection.api.call("get", str(one)))
            except NotFound:
                return str(one)
            if _digest(content) != digest:
                return str(one)
        return ""


def _look(connection: Connection, *, accept: str = METADATA) -> Iterator[tuple[_Found, Mapping[str, Any]]]:
    for kind in types_of(connection):
        for item in items_of(connection, kind, accept=accept):
            if _IDENTITY not in item["metadata"].get("labels", {}):
                yield _Found(kind, item["metadata"]), item


def _served(connection: Connection) -> frozenset[str]:
    return frozenset(f"{kind.full_name} {kind.version}" for kind in connection.discovery.types())


def _digest(item: Mapping[str, Any]) -> str:
    # Items of a list do not say what they are, single ones do.
    content = {name: value for name, value in item.items() if name not in ("apiVersion", "kind")}
    return hashlib.sha256(json.dumps(_lasting(content), sort_keys=True).encode()).hexdigest()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in _VOLATILE}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def _remove(connection: Connection, added: Sequence[_Found]) -> str:
    """Order one step towards the end of each; what was refused, if anything."""
    refused = ""
    for order in _orders(connection, added):
        try:
            order()
        except ApiError as error:
            refused = refused if error.status in _ALREADY else error.message
    return refused


def _orders(connection: Connection, added: Sequence[_Found]) -> Iterator[Callable[[], None]]:
    for one in added:
        if not one.kind.built_in:  # the API server would find it held, and look again in 5 s, while its CRD goes
            yield partial(_release, connection, one)
    filled = {one.namespace for one in added}
    doomed = {one.metadata["name"] for one in added if one.kind.full_name == "namespaces"}
    for (kind, namespace), grouped in groupby(sorted(added, key=_order), lambda one: (one.kind, one.namespace)):
        group = list(grouped)
        if namespace in doomed and "deletecollection" in kind.verbs and not any(one.ends for one in group):
            yield partial(_delete_all, connection, kind, namespace)
        else:
            yield from (partial(_step, connection, one, empty=one.metadata["name"] not in filled) for one in group)


def _release(connection: Connection, one: _Found) -> None:
    """Take its finalizers away: whose they were does not matter any more."""
    if one.metadata.get("finalizers"):
        body, merge = {"metadata": {"finalizers": None}}, "application/merge-patch+json"
        call = connection.api.call("release", str(one))
        connection.api.request("PATCH", one.path, call, body=body, content_type=merge)


def _delete_all(connection: Connection, kind: ResourceType, namespace: str) -> None:
    call = connection.api.call("delete all", kind.full_name, namespace)
    connection.api.request("DELETE", kind.path(namespace), call, query=_DELETION)


def _order(one: _Found) -> tuple[int, str, str, str]:
    first = one.kind.group in _FIRST
    rank = 0 if first else 1 if one.kind.full_name in ("namespaces", _CRDS) else 2
    return rank, one.kind.full_name, one.namespace, one.metadata["name"]


def _step(connection: Connection, one: _Found, *, empty: bool) -> None:
    api = connection.api
    if _AUTOMANAGED in one.metadata.get("labels", {}):
        return  # it goes with its CRD, and would come back before
    if not one.ends:
        api.request("DELETE", one.path, api.call("delete", str(one)), query=_DELETION)
        return
    if one.kind.full_name != _CRDS:  # the finalizer of a CRD is the API server's, which deletes its objects
        _release(connection, one)
    if one.kind.full_name == "namespaces" and empty:
        finalise(connection, one.metadata["name"])
