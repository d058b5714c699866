"""The requests of a load: which objects, with which contents, in which order; the plan and its seed decide it all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_kina.load.plan import LoadPlan

LABEL = "pytest-kina/load"
"""Says which load an object belongs to."""
CHURNED = ("pods", "config_maps", "custom_resources")
"""Kinds that change; deployments make their own changes, and nobody changes events."""
_IMAGE = "example.invalid/load:1"
_MOMENT = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change: its requests one after the other, each a method, a path and a body."""

    kind: str
    verb: str
    requests: tuple[tuple[str, str, dict[str, Any] | None], ...]


@dataclass(frozen=True, slots=True)
class _Thing:
    """The ``number``-th object of a kind; ``generation`` grows each time it is replaced."""

    kind: str
    number: int
    generation: int = 0


class Operations:
    """All operations of one plan."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._group = group(plan)

    def namespaces(self) -> list[str]:
        """The names of its namespaces."""
        return [f"{self._plan.name}-{number}" for number in range(self._plan.namespaces)]

    def creations(self) -> Iterator[Operation]:
        """One per object, in an order that the seed has shuffled, so that kinds and namespaces mix."""
        things = [_Thing(kind, number) for kind, count in self._plan.counts.items() for number in range(count)]
        random.Random(f"order {self._plan.seed}").shuffle(things)  # nosec B311  # noqa: S311 - reproducible on purpose
        for thing in things:
            yield Operation(kind=thing.kind, verb="create", requests=(self._create(thing),))

    def rounds(self) -> Iterator[list[Operation]]:
        """Changes without end. Within a round no object comes twice, so its operations may run side by side."""
        chance = random.Random(f"churn {self._plan.seed}")  # nosec B311  # noqa: S311 - reproducible on purpose
        things = [_Thing(kind, n) for kind, count in self._plan.counts.items() if kind in CHURNED for n in range(count)]
        while things:
            chance.shuffle(things)
            made: list[Operation] = []
            for at, thing in enumerate(things):
                operation, things[at] = self._change(thing, chance)
                made.append(operation)
            yield made

    def _change(self, thing: _Thing, chance: random.Random) -> tuple[Operation, _Thing]:
        """Pods are replaced; what has a payload is, too, or gets another one."""
        if thing.kind != "pods" and chance.random() < 0.5:
            patch: dict[str, Any] = {"data": self._payload(thing, salt=chance.random())}
            body = patch if thing.kind == "config_maps" else {"spec": patch}
            path = self._path(thing, named=True)
            return Operation(kind=thing.kind, verb="update", requests=(("PATCH", path, body),)), thing
        after = _Thing(thing.kind, thing.number, thing.generation + 1)
        gone = ("DELETE", f"{self._path(thing, named=True)}?gracePeriodSeconds=0", None)
        return Operation(kind=thing.kind, verb="replace", requests=(gone, self._create(after))), after

    def _create(self, thing: _Thing) -> tuple[str, str, dict[str, Any]]:
        return "POST", self._path(thing, named=False), self._document(thing)

    def _path(self, thing: _Thing, *, named: bool) -> str:
        root, plural = {
            "deployments": ("/apis/apps/v1", "deployments"),
            "custom_resources": (f"/apis/{self._group}/v1", "loadobjects"),
        }.get(thing.kind, ("/api/v1", thing.kind.replace("_", "")))
        collection = f"{root}/namespaces/{self._namespace(thing)}/{plural}"
        return f"{collection}/{self._name(thing)}" if named else collection

    def _namespace(self, thing: _Thing) -> str:
        return f"{self._plan.name}-{thing.number % self._plan.namespaces}"

    def _name(self, thing: _Thing) -> str:
        generation = f"-{thing.generation}" if thing.generation else ""
        return f"{self._plan.name}-{thing.kind.replace('_', '')}-{thing.number}{generation}"

    def _document(self, thing: _Thing) -> dict[str, Any]:
        metadata = {"name": self._name(thing), "labels": {LABEL: self._plan.name}}
        body: dict[str, Any] = {"metadata": metadata}
        containers = {"containers": [{"name": "main", "image": _IMAGE}], "terminationGracePeriodSeconds": 0}
        match thing.kind:
            case "config_maps":
                return body | {"data": self._payload(thing)}
            case "custom_resources":
                head = {"apiVersion": f"{self._group}/v1", "kind": "LoadObject"}
                return head | body | {"spec": {"data": self._payload(thing)}}
            case "events":
                return body | self._event(thing)
            case "pods":
                return body | {"spec": containers}
            case _:
                labels = {LABEL: self._plan.name, "app": metadata["name"]}
                template = {"metadata": {"labels": labels}, "spec": containers}
                selector = {"matchLabels": labels}
                return body | {"spec": {"replicas": self._plan.replicas, "selector": selector, "template": template}}

    def _event(self, thing: _Thing) -> dict[str, Any]:
        about = {"kind": "Namespace", "name": self._namespace(thing), "namespace": self._namespace(thing)}
        return {
            "involvedObject": about,
            "reason": "Load",
            "message": f"event {thing.number} of the load {self._plan.name}",
            "type": "Normal",
            "count": 1,
            "firstTimestamp": _MOMENT,
            "lastTimestamp": _MOMENT,
        }

    def _payload(self, thing: _Thing, salt: float = 0.0) -> dict[str, str]:
        chance = random.Random(f"{self._plan.seed} {thing} {salt}")  # nosec B311  # noqa: S311 - reproducible on purpose
        return {"payload": chance.randbytes((self._plan.size + 1) // 2).hex()[: self._plan.size]}


def group(plan: LoadPlan) -> str:
    """The API group of the plan's custom resources: its own, so that loads do not disturb each other."""
    return f"{plan.name}.load.pytest-kina.io"


def definition(plan: LoadPlan) -> dict[str, Any]:
    """The CustomResourceDefinition of the plan's custom resources."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"loadobjects.{group(plan)}", "labels": {LABEL: plan.name}},
        "spec": {
            "group": group(plan),
            "scope": "Namespaced",
            "names": {"plural": "loadobjects", "singular": "loadobject", "kind": "LoadObject"},
            "versions": [version],
        },
    }
