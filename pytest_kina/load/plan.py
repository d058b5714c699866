"""How much load: what is made, how large it is, how fast it changes, and the seed that makes it the same each time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_OBJECTS = 200_000
"""More than an API server on one machine carries, so more is a slip of the pen."""
MOST_BYTES = 900_000
"""Of one object's payload; etcd refuses requests above 1.5 MiB, and JSON needs room."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load. Two plans that are equal lead to the same requests with the same contents in the same order.

    ``name`` begins the names of all its objects, and labels them (``pytest-kina/load``). Objects are spread over
    ``namespaces``; ``pods`` are bare ones, beside ``replicas`` of each deployment. ``size`` is the payload of a config
    map or custom resource in bytes. After all is made, ``churn`` objects per second are replaced or changed, for
    ``seconds``. Raises :class:`ValueError` naming every value that makes no sense.
    """

    name: str = "load"
    namespaces: int = 1
    deployments: int = 0
    replicas: int = 1
    pods: int = 0
    config_maps: int = 0
    events: int = 0
    custom_resources: int = 0
    size: int = 1024
    churn: float = 0.0
    seconds: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name}: expected a whole number from {least} to {most}, got {value}"
            for name, least, most in _LIMITS
            if not least <= (value := getattr(self, name)) <= most
        ]
        if not _NAME.fullmatch(self.name):
            problems.append(f"name: expected a DNS label of at most 52 characters, got {self.name!r}")
        if self.objects + self.deployments * self.replicas > MOST_OBJECTS:
            problems.append(f"more than {MOST_OBJECTS:,} objects and replicas together")
        if not self.objects:
            problems.append("nothing to make: give deployments, pods, config_maps, events or custom_resources")
        if (self.churn > 0) != (self.seconds > 0) or min(self.churn, self.seconds) < 0:
            problems.append(f"churn ({self.churn:g} per second) and seconds ({self.seconds:g}) go together")
        if problems:
            raise ValueError("\n".join(problems))

    @property
    def counts(self) -> Mapping[str, int]:
        """How many objects of each kind are made, namespaces apart."""
        kinds = ("deployments", "pods", "config_maps", "events", "custom_resources")
        return {kind: number for kind in kinds if (number := getattr(self, kind))}

    @property
    def objects(self) -> int:
        """How many objects that is together."""
        return sum(self.counts.values())

    @property
    def all_pods(self) -> int:
        """How many pods there will be, those of deployments included."""
        return self.pods + self.deployments * self.replicas

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


_LIMITS = (
    ("namespaces", 1, 1000),
    ("deployments", 0, MOST_OBJECTS),
    ("replicas", 0, MOST_OBJECTS),
    ("pods", 0, MOST_OBJECTS),
    ("config_maps", 0, MOST_OBJECTS),
    ("events", 0, MOST_OBJECTS),
    ("custom_resources", 0, MOST_OBJECTS),
    ("size", 0, MOST_BYTES),
)
