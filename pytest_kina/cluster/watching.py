"""The objects of a collection as they change: one list, then a watch, and both again whenever the watch is lost.

Protocol: Kubernetes API concepts, "Efficient detection of changes". A watch may end at any time; it goes on from the
last version seen. ``410 Gone`` (an HTTP code, or an ``ERROR`` event) means that this version is forgotten: list again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_kina.cluster.api import Api
from pytest_kina.cluster.refusals import refused
from pytest_kina.cluster.resources import ResourceType
from pytest_kina.errors import ApiError
from pytest_kina.waiting import Deadline

Key = tuple[str, str]

_PAUSE = 0.1
"""Seconds before a lost watch is begun again, so that a server that closes each at once is not hammered."""
_SHORTEST = 1.0
"""Seconds that an answer may take however little time is left, so that a short wait still sees what is there."""
_PASSING = {0, 429, 500, 502, 503, 504}
"""No answer at all, and the codes of a server that is starting, ending or overloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One object (``name``) or a collection; without ``namespace``, over all namespaces."""

    kind: ResourceType
    namespace: str | None = None
    name: str | None = None
    selector: str | None = None
    fields: str | None = None

    @property
    def subject(self) -> str:
        """For messages: ``deployments.apps/web``, ``pods (app=web)``."""
        if self.name:
            return f"{self.kind.full_name}/{self.name}"
        chosen = ", ".join(part for part in (self.selector, self.fields) if part)
        return f"{self.kind.full_name} ({chosen})" if chosen else self.kind.full_name

    @property
    def query(self) -> list[tuple[str, str]]:
        """What selects it from its collection."""
        fields = ",".join(part for part in (self.name and f"metadata.name={self.name}", self.fields) if part)
        wanted = (("labelSelector", self.selector), ("fieldSelector", fields))
        return [(name, value) for name, value in wanted if value]


@dataclass(slots=True)
class View:
    """What is known of the target now; ``touched`` has changed since the last look."""

    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    touched: tuple[Key, ...] = ()
    version: str = ""


def changes(api: Api, target: Target, deadline: Deadline) -> Iterator[View]:
    """The same view, yielded once after the list and once after each change, until the deadline.

    Passing failures of the server are outwaited. Raises :class:`ApiError` for others, and at the deadline when the
    target could never be listed.
    """
    view = View()
    trouble: ApiError | None = None
    while True:
        try:
            if not view.version:
                _list(api, target, view, max(deadline.remaining, _SHORTEST))
                trouble = None
                yield view
            yield from _follow(api, target, view, deadline)
        except ApiError as error:
            if error.status == 410:
                view.version = ""
            elif error.status not in _PASSING:
                raise
            else:
                trouble = error if not view.version else None
        if deadline.expired:
            if trouble is not None:
                raise trouble
            return
        time.sleep(min(_PAUSE, deadline.remaining))


def _list(api: Api, target: Target, view: View, timeout: float) -> None:
    call = api.call("list", target.subject, target.namespace)
    answer = api.request("GET", target.kind.path(target.namespace), call, query=target.query, timeout=timeout)
    before = view.objects
    common = {"apiVersion": target.kind.api_version, "kind": target.kind.kind}
    view.objects = {_key(item): {**common, **item} for item in answer["items"]}
    view.touched = tuple({*before, *view.objects})
    view.version = answer["metadata"]["resourceVersion"]


def _follow(api: Api, target: Target, view: View, deadline: Deadline) -> Iterator[View]:
    call = api.call("watch", target.subject, target.namespace)
    query = [*target.query, ("resourceVersion", view.version)]
    timeout = max(deadline.remaining, 0.05)  # zero would mean no limit
    for event in api.watch(target.kind.path(target.namespace), call, query=query, timeout=timeout):
        item = event["object"]
        if event["type"] == "ERROR":
            raise refused(call, item.get("code", 500), item.get("reason", ""), item.get("message", ""))
        view.version = item["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            key = _key(item)
            view.touched = (key,)
            if event["type"] == "DELETED":
                view.objects.pop(key, None)
            else:
                view.objects[key] = item
            yield view
        if deadline.expired:
            return


def _key(item: dict[str, Any]) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
