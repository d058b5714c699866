"""Clusters made by kind (https://kind.sigs.k8s.io), 0.24 and later, on docker, podman or nerdctl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_kina.errors import SpecError
from pytest_kina.files import write_atomic
from pytest_kina.providers import Place
from pytest_kina.providers.containers.configuration import agreed, refuse_keys, users_own
from pytest_kina.providers.containers.engine_provider import EngineProvider
from pytest_kina.providers.containers.kindest import image_for, version_of
from pytest_kina.spec import ClusterSpec

__all__ = ["KindProvider"]

_API = "kind.x-k8s.io/v1alpha4"
_MIRRORS = "/etc/containerd/certs.d"
_READ_MIRRORS = f'[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{_MIRRORS}"\n'
"""Node images of kind 0.27 and later read them without being told."""

_HEAD, _WORKER = "control-plane", "worker"


class KindProvider(EngineProvider):
    """Clusters of kind. ``provider_options``: ``node_image``, and ``config`` (a kind configuration, or its path)."""

    name = "kind"
    label = "io.x-k8s.kind.cluster"
    oldest = (0, 24, 0)
    version_words = "kind"
    capabilities = EngineProvider.capabilities | {"feature-gates"}
    options = (*EngineProvider.options, "config")

    def image(self, version: str) -> str:
        """``kindest/node`` of the version."""
        return image_for(version)

    def kubernetes(self, image: str) -> str:
        """What the image's tag says."""
        return version_of(image)

    def identity(self, spec: ClusterSpec) -> Mapping[str, str]:
        """What the user's configuration says shapes the cluster, too."""
        return {"config": json.dumps(_configuration(spec), sort_keys=True)}

    def validate(self, spec: ClusterSpec) -> None:
        """As every tool, and the user's configuration must agree with the spec."""
        super().validate(spec)
        _configuration(spec)

    def nodes(self, spec: ClusterSpec, cluster: str) -> list[str]:
        """NAME-control-plane, NAME-worker, NAME-worker2 and so on."""
        roles = _roles(_configuration(spec)["nodes"])
        return [name for role in (_HEAD, _WORKER) for name in _numbered(f"{cluster}-{role}", roles.count(role))]

    def order(self, spec: ClusterSpec, place: Place, image: str) -> Sequence[str | Path]:
        """With ``--retain``: the nodes of a failed creation stay for their logs, until our own ``delete``."""
        config = place.directory / "kind.json"
        document = self._with_mirrors(_configuration(spec), place)
        write_atomic(config, json.dumps(document, indent=1).encode())
        names = ("--name", place.name, "--image", image)
        return ["create", "cluster", *names, *_kubeconfig(place), "--config", config, "--retain", "--wait", "0s"]

    def kubeconfig_order(self, cluster: str) -> Sequence[str]:
        """Prints the kubeconfig with the published port of this machine."""
        return ["get", "kubeconfig", "--name", cluster]

    def delete_order(self, place: Place) -> Sequence[str | Path]:
        """Also edits a kubeconfig, so it is given one."""
        return ["delete", "cluster", "--name", place.name, *_kubeconfig(place)]

    def load_order(self, cluster: str, archive: Path) -> Sequence[str | Path]:
        """Imports into the namespace of the kubelet."""
        return ["load", "image-archive", archive, "--name", cluster]

    def runs_pods(self, container: str) -> bool:
        """The load balancer before several control planes is no node."""
        return not container.endswith("-external-load-balancer")

    def surroundings(self, place: Place) -> Mapping[str, str]:
        """Kind chooses an engine by itself; it must be the one that we look at."""
        return {**super().surroundings(place), "KIND_EXPERIMENTAL_PROVIDER": self.engine.name}

    def _with_mirrors(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        """Mounted into every node, unless the user's configuration does that itself."""
        if not self.mirrors.of or _MIRRORS in json.dumps(document):
            return document
        folder = self.mirrors.write_hosts(place.directory / "certs.d")
        mount = {"hostPath": str(folder), "containerPath": _MIRRORS, "readOnly": True}
        nodes = [{**node, "extraMounts": [*(node.get("extraMounts") or ()), mount]} for node in document["nodes"]]
        patches = [*(document.get("containerdConfigPatches") or ()), _READ_MIRRORS]
        return {**document, "nodes": nodes, "containerdConfigPatches": patches}


def _kubeconfig(place: Place) -> tuple[str, Path]:
    return "--kubeconfig", place.directory / "tool.kubeconfig"


def _configuration(spec: ClusterSpec) -> dict[str, Any]:
    """The user's configuration, completed by what the spec says. Raises :class:`SpecError` where they disagree."""
    own = users_own(spec, "Cluster") or {"kind": "Cluster", "apiVersion": _API}
    nodes = own.get("nodes") or [{"role": _HEAD}, *[{"role": _WORKER}] * spec.workers]
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise SpecError(f"provider_options: nodes of config is a list like [{{'role': 'worker'}}], not {nodes!r}")
    for node in nodes:
        refuse_keys(node, {"image": "the node image is that of `version` or provider_options' node_image"})
    if spec.workers:
        agreed("workers", spec.workers, _roles(nodes).count(_WORKER), "nodes")
    gates = dict(own.get("featureGates") or {})
    for gate, switched in spec.feature_gates:
        agreed(f"feature_gates: {gate}", switched, gates.setdefault(gate, switched), "featureGates")
    kept = {key: value for key, value in own.items() if key != "name"}  # the pool gives names
    return {**kept, "featureGates": gates, "nodes": nodes}


def _roles(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(node.get("role", _HEAD)) for node in nodes]


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}{number if number > 1 else ''}" for number in range(1, count + 1)]
