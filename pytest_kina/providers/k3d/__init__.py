"""Clusters of k3s in docker or podman, made by k3d (https://k3d.io), 5.6 and later."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.files import write_atomic
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.configuration import agreed, refuse_keys, users_own
from pytest_kina.providers.containers.engine_provider import EngineProvider
from pytest_kina.providers.containers.programs import dotted
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Stopwatch

__all__ = ["K3dProvider"]

_PATCHES = {"1.33": "1.33.7", "1.34": "1.34.3", "1.35": "1.35.5", "1.36": "1.36.1"}
"""Minor versions that k3s has released, and the patch of it that is taken."""

_SAID_OTHERWISE = {
    "image": "the node image is that of `version` or provider_options' node_image",
    "kubeAPI": "the API server is published to 127.0.0.1, at a free port",
}
_LOADBALANCER = "loadbalancer"
_WITHOUT_SERVICELB = re.compile(r"--disable[= ][\w,-]*\bservicelb\b")
_API_PORT = 6443
_CONNECT_SECONDS = 2.0


class K3dProvider(EngineProvider):
    """Clusters of k3s. ``provider_options``: ``node_image``, ``k3s_args`` (each ``ARG@NODEFILTER``), and ``config``.

    The configuration is one of k3d (``kind: Simple``), or its path.
    """

    name = "k3d"
    label = "k3d.cluster"
    oldest = (5, 6, 0)
    version_words = "k3d version"
    engines = ("docker", "podman")
    options = (*EngineProvider.options, "k3s_args", "config")
    capabilities = EngineProvider.capabilities | {_LOADBALANCER}

    @property
    def info(self) -> ProviderInfo:
        """As every tool's; k3s gives a LoadBalancer its nodes' addresses, which on a Mac are inside a machine."""
        info = super().info
        return info if sys.platform == "linux" else replace(info, capabilities=info.capabilities - {_LOADBALANCER})

    def validate(self, spec: ClusterSpec) -> None:
        """As every tool, and the user's configuration must agree with the spec."""
        super().validate(spec)
        said = json.dumps([_configuration(spec), dict(spec.provider_options).get("k3s_args")])
        if _LOADBALANCER in spec.needs and _WITHOUT_SERVICELB.search(said):
            raise SpecError(
                "needs: loadbalancer is what servicelb of k3s does, and provider_options disable that",
                next_step="leave out the need, or `--disable=servicelb`",
            )

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """As every tool; where a LoadBalancer is needed, its address, which is a node's, must be reached from here."""
        super().create(spec, place, stopwatch, timeout)
        if _LOADBALANCER in spec.needs:
            _refuse_unreached(place, f"k3d-{place.name}-server-0")

    def identity(self, spec: ClusterSpec) -> Mapping[str, str]:
        """What the user's configuration says shapes the cluster, too."""
        own = _configuration(spec)
        return {"config": json.dumps(own, sort_keys=True)} if own else {}

    def image(self, version: str) -> str:
        """``rancher/k3s`` of the version, or of the patch that is taken for a minor version."""
        patch = _PATCHES.get(version, version)
        if patch.count(".") != 2 or patch.rpartition(".")[0] not in _PATCHES:
            raise SpecError(
                f"no k3s image is known for Kubernetes {version}; known are {', '.join(_PATCHES)}",
                next_step="choose one of these, or a patch of one, or provider_options={'node_image': ...}",
            )
        return f"rancher/k3s:v{patch}-k3s1"

    def kubernetes(self, image: str) -> str:
        """What the image's tag says."""
        found = re.search(r":(v\d+\.\d+\.\d+)-k3s\d+(@sha256:[0-9a-f]+)?$", image)
        if found is None:
            raise SpecError(
                f"provider_options: node_image={image!r} has no tag like v1.36.1-k3s1 that tells its version"
            )
        return found[1]

    def nodes(self, spec: ClusterSpec, cluster: str) -> list[str]:
        """k3d-NAME-server-0, k3d-NAME-agent-0 and so on."""
        own = _configuration(spec)
        counts = {"server": own.get("servers", 1), "agent": own.get("agents", spec.workers)}
        return [f"k3d-{cluster}-{role}-{number}" for role, count in counts.items() for number in range(count)]

    def order(self, spec: ClusterSpec, place: Place, image: str) -> Sequence[str | Path]:
        """Without rollback, so that logs of a failed creation can be read; our own ``delete`` removes it.

        The port is published to this machine only; k3d's default is every address it has.
        """
        extra = dict(spec.provider_options).get("k3s_args", ())
        own = _configuration(spec)
        flags: list[str | Path] = ["--image", image, "--api-port", "127.0.0.1:random", "--no-rollback"]
        flags += _written(own, place) if own else ["--agents", str(spec.workers)]
        if self.mirrors.of and not own.get("registries"):  # a configuration that has some means those
            registries = place.directory / "registries.yaml"
            write_atomic(registries, json.dumps(self.mirrors.registries(), indent=1).encode())
            flags += ["--registry-config", registries]
        flags += ["--kubeconfig-update-default=false", "--kubeconfig-switch-context=false"]
        words = (extra,) if isinstance(extra, str) else extra if isinstance(extra, tuple) else ()
        return ["cluster", "create", place.name, *flags, *(part for word in words for part in ("--k3s-arg", str(word)))]

    def kubeconfig_order(self, cluster: str) -> Sequence[str]:
        """Prints the kubeconfig."""
        return ["kubeconfig", "get", cluster]

    def delete_order(self, place: Place) -> Sequence[str]:
        """Also edits the default kubeconfig: see :meth:`surroundings`."""
        return ["cluster", "delete", place.name]

    def load_order(self, cluster: str, archive: Path) -> Sequence[str | Path]:
        """``direct`` needs no helper container."""
        return ["image", "import", "--mode", "direct", "--cluster", cluster, archive]

    def runs_pods(self, container: str) -> bool:
        """The load balancer, ``k3d-NAME-serverlb``, is no node."""
        return re.search(r"-(server|agent)-\d+$", container) is not None

    def helpers(self) -> Mapping[str, str]:
        """The load balancer, and what k3d looks at the engine's network with; of k3d's own version (k3d: env.go)."""
        version = dotted(self.tool_version)
        images = {"K3D_IMAGE_LOADBALANCER": "k3d-proxy", "K3D_IMAGE_TOOLS": "k3d-tools"}
        return {name: self.mirrors.reference(f"ghcr.io/k3d-io/{image}:{version}") for name, image in images.items()}

    def surroundings(self, place: Place) -> Mapping[str, str]:
        """k3d edits the default kubeconfig when it deletes, and keeps files in the user's configuration directory."""
        return {**super().surroundings(place), "XDG_CONFIG_HOME": str(place.directory / "config")}


def _configuration(spec: ClusterSpec) -> dict[str, Any]:
    """The user's configuration with the spec's workers; empty without one. Raises :class:`SpecError`."""
    if (own := users_own(spec, "Simple")) is None:
        return {}
    refuse_keys(own, _SAID_OTHERWISE)
    counts = {"servers": own.get("servers") or 1, "agents": own.get("agents", spec.workers)}
    if wrong := [f"{key}: {count!r}" for key, count in counts.items() if not isinstance(count, int) or count < 0]:
        raise SpecError(f"provider_options: config counts nodes in whole numbers, not {', '.join(wrong)}")
    if spec.workers:
        agreed("workers", spec.workers, counts["agents"], "agents")
    return {key: value for key, value in own.items() if key != "metadata"} | counts  # the pool gives names


def _refuse_unreached(place: Place, node: str) -> None:
    """Raise :class:`ProvisionError` unless the ``node`` answers at its own address, as its API server does."""
    with closing(Access(place.directory).probe()) as probe:
        addresses = json.loads(probe.get(f"/api/v1/nodes/{node}")[1])["status"]["addresses"]
    address = next((each["address"] for each in addresses if each["type"] == "InternalIP"), "no address")
    try:
        socket.create_connection((address, _API_PORT), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ProvisionError(
            f"cluster {place.name}: Services of type LoadBalancer get addresses of nodes, and this machine does not "
            f"reach {address}: {error}",
            next_step="use an engine whose networks are this machine's (neither rootless nor in a virtual machine), or "
            "leave out needs={'loadbalancer'} and publish ports in provider_options' config",
            cluster=place.name,
        ) from error


def _written(own: Mapping[str, Any], place: Place) -> list[str | Path]:
    path = place.directory / "k3d.yaml"  # k3d wants that ending; JSON is YAML
    write_atomic(path, json.dumps(own, indent=1).encode())
    return ["--config", path]
