"""What was asked for: the cluster spec, the isolation it is used with, and the fingerprint that decides reuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pytest_kina.charts import Chart
from pytest_kina.errors import SpecError
from pytest_kina.settings import DEFAULT_VERSION

SCHEMA = 1
"""Part of every fingerprint: raise it when clusters made by this version differ from those of the one before."""

MOST_NODES = 10_000
"""How many simulated nodes a cluster may have; twice of what Kubernetes itself is tested with."""

Profile = Literal["workloads", "api"]
OptionValue = str | int | bool | tuple[str | int | bool, ...]
"""What a provider's own option may be: a word, a number, a switch, or several of them; a document is a word of JSON."""

ARCHIVES = (".tar", ".tar.gz", ".tgz")
"""What the name of an image's archive ends with, where an archive may stand for the image."""

_PAIRS = ("feature_gates", "api_server_args", "provider_options")
_LISTS = ("needs", "images", "crds", "manifests", "bootstrap")
_SHAPELESS = ("version", "needs", "images")
"""Fields that make no difference to the cluster; the version that runs is in the provider's identity."""


class Isolation(StrEnum):
    """Who else may use the cluster meanwhile, and what happens to it afterwards."""

    NAMESPACE = "namespace"
    """Shared by the xdist workers of one run; each test has a namespace of its own."""
    EXCLUSIVE = "exclusive"
    """Nobody else uses it meanwhile; reset afterwards."""
    FRESH = "fresh"
    """Never used before, deleted afterwards."""


def as_option(value: Any) -> Any:
    """The value of a provider's option with tuples for lists and JSON for documents, so that a spec stays hashable."""
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    return tuple(value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Everything that shapes a cluster. Frozen, hashable, made of plain values.

    ``version`` is a Kubernetes minor (``1.36``) or patch (``1.36.3``). ``simulated_nodes`` are Ready nodes without a
    kubelet, run by kwok. ``feature_gates`` and ``api_server_args`` are sorted pairs.

    ``workers`` are real nodes beside the control plane; ``cpus`` (whole processors) and ``memory_mib`` (MiB) are those
    of each node, None for what the provider takes. ``provider_options`` are sorted pairs that one provider knows.
    ``needs`` (capabilities) and ``images`` shape no cluster: they say which provider, and what is loaded into it.

    ``crds`` and ``manifests`` are absolute paths of what is in the cluster from the beginning, between them come the
    charts of ``helm``. ``bootstrap`` is a function (``module:function``) that gets the cluster's handle then, its key,
    and absolute paths that it reads.
    """

    provider: str = "auto"
    version: str = DEFAULT_VERSION
    profile: Profile = "workloads"
    simulated_nodes: int = 1
    feature_gates: tuple[tuple[str, bool], ...] = ()
    api_server_args: tuple[tuple[str, str], ...] = ()
    workers: int = 0
    cpus: int | None = None
    memory_mib: int | None = None
    provider_options: tuple[tuple[str, OptionValue], ...] = ()
    needs: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    crds: tuple[str, ...] = ()
    helm: tuple[Chart, ...] = ()
    manifests: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()

    @property
    def content(self) -> bool:
        """Whether anything of the user is in the cluster from the beginning."""
        return bool(self.crds or self.helm or self.manifests or self.bootstrap)

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON types."""
        pairs = {name: dict(getattr(self, name)) for name in _PAIRS}
        charts = [asdict(chart) | {"files": list(chart.files)} for chart in self.helm]
        return asdict(self) | pairs | {name: list(getattr(self, name)) for name in _LISTS} | {"helm": charts}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The spec that :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`SpecError`."""
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        try:
            for name in _PAIRS:
                pairs = dict(known.get(name, {})).items()
                known[name] = tuple(sorted((key, as_option(value)) for key, value in pairs))
            known["helm"] = tuple(map(Chart.from_json, known.get("helm", ())))
            return cls(**known | {name: tuple(known.get(name, ())) for name in _LISTS})
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
    shape = {key: value for key, value in spec.to_json().items() if key not in _SHAPELESS} | {"provider": provider}
    document = json.dumps({"schema": SCHEMA, "spec": shape, "identity": dict(identity)}, sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]
