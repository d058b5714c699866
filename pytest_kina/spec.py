"""What was asked for: the cluster spec, the isolation it is used with, and the fingerprint that decides reuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pytest_kina.errors import SpecError
from pytest_kina.settings import DEFAULT_VERSION

SCHEMA = 1
"""Part of every fingerprint: raise it when clusters made by this version differ from those of the one before."""

Profile = Literal["workloads", "api"]


class Isolation(StrEnum):
    """Who else may use the cluster meanwhile, and what happens to it afterwards."""

    NAMESPACE = "namespace"
    """Shared by the xdist workers of one run; each test has a namespace of its own."""
    EXCLUSIVE = "exclusive"
    """Nobody else uses it meanwhile; reset afterwards."""
    FRESH = "fresh"
    """Never used before, deleted afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Everything that shapes a cluster. Frozen, hashable, made of plain values.

    ``version`` is a Kubernetes minor (``1.36``) or patch (``1.36.3``). ``simulated_nodes`` are Ready nodes without a
    kubelet, run by kwok. ``feature_gates`` and ``api_server_args`` are sorted pairs.
    """

    provider: str = "auto"
    version: str = DEFAULT_VERSION
    profile: Profile = "workloads"
    simulated_nodes: int = 1
    feature_gates: tuple[tuple[str, bool], ...] = ()
    api_server_args: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON types."""
        return asdict(self) | {"feature_gates": dict(self.feature_gates), "api_server_args": dict(self.api_server_args)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The spec that :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`SpecError`."""
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        try:
            for name in ("feature_gates", "api_server_args"):
                known[name] = tuple(sorted(dict(known.get(name, {})).items()))
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise SpecError(f"not a cluster spec: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDescription:
    """What is true of one cluster from its creation to its end; kept as ``cluster.json`` in its directory.

    Any process that finds the directory can use, reset or delete the cluster from this alone.
    """

    FILE: ClassVar[str] = "cluster.json"
    SCHEMA: ClassVar[int] = 1

    name: str
    provider: str
    fingerprint: str
    spec: ClusterSpec
    identity: tuple[tuple[str, str], ...] = ()

    @property
    def kubernetes(self) -> str:
        """The Kubernetes version that runs, as ``v1.36.3``."""
        return dict(self.identity).get("kubernetes", self.spec.version)

    def to_json(self) -> dict[str, Any]:
        """The description as plain JSON types, without the ``schema`` that the file adds."""
        return {
            "name": self.name,
            "provider": self.provider,
            "fingerprint": self.fingerprint,
            "spec": self.spec.to_json(),
            "identity": dict(self.identity),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The description that :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`SpecError`."""
        try:
            return cls(
                name=document["name"],
                provider=document["provider"],
                fingerprint=document["fingerprint"],
                spec=ClusterSpec.from_json(document["spec"]),
                identity=tuple(sorted(document["identity"].items())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"not a cluster description: {error!r}") from error


def fingerprint(spec: ClusterSpec, provider: str, identity: Mapping[str, str]) -> str:
    """16 hexadecimal digits that are equal exactly for clusters that may stand in for each other.

    ``identity`` is what the provider adds: its version, the resolved Kubernetes version, the digests of binaries.
    Isolation, time-outs and names are no part of it.
    """
    shape = spec.to_json() | {"provider": provider, "version": ""}
    document = json.dumps({"schema": SCHEMA, "spec": shape, "identity": dict(identity)}, sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]
