"""From a cluster spec to kina's flags; what kina cannot do is refused before anything starts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_kina.errors import SpecError
from pytest_kina.providers.containers import node_image
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.spec import ClusterSpec

KUBERNETES = "v1.36.1"
"""What kina 0.2.0 tells kubeadm, whatever the node image is."""

NODE_IMAGE = f"kindest/node:{KUBERNETES}"

_NETWORKS = ("ptp", "cilium")
_OPTIONS = ("cni", "kernel", node_image.OPTION)
_VERSION = re.compile(r":(v\d+\.\d+\.\d+)(@sha256:[0-9a-f]+)?$")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_LONGEST_NAME = 63 - len("-control-plane")
_RESERVED = ("cache", "config", "kubectx", "kubens")
"""Files and directories of other programs in ``~/.kube``, where kina keeps a file per cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask kina for."""

    image: str
    network: str
    kernel: str
    workers: int
    cpus: int | None
    memory_mib: int | None

    @classmethod
    def of(cls, spec: ClusterSpec, mirrors: Mirrors) -> Order:
        """The order for ``spec``. Raises :class:`SpecError` for what kina cannot do."""
        if spec.version not in (KUBERNETES[1:], KUBERNETES[1:].rpartition(".")[0]):
            raise SpecError(
                f"kina makes clusters of Kubernetes {KUBERNETES} only, not {spec.version}",
                next_step="leave the version out, or choose another provider",
            )
        options = dict(spec.provider_options)
        if unknown := sorted(set(options) - set(_OPTIONS)):
            raise SpecError(f"provider_options: kina has no {', '.join(unknown)}; it has {', '.join(_OPTIONS)}")
        words = {key: str(options.get(key, default)) for key, default in (("cni", "ptp"), ("kernel", ""))}
        if words["cni"] not in _NETWORKS:
            raise SpecError(f"provider_options: cni is one of {', '.join(_NETWORKS)}, not {words['cni']!r}")
        image = node_image.reference(spec, lambda: NODE_IMAGE, mirrors)
        if (tag := _VERSION.search(image)) and tag[1] != KUBERNETES:
            raise SpecError(
                f"provider_options: node_image is of {tag[1]}, but kina tells kubeadm {KUBERNETES} with any image",
                next_step=f"take an image of {KUBERNETES}, or choose another provider",
            )
        return cls(
            image=image,
            network=words["cni"],
            kernel=words["kernel"],
            workers=spec.workers,
            cpus=spec.cpus,
            memory_mib=spec.memory_mib,
        )

    def flags(self) -> list[str]:
        """The flags of ``kina create``.

        ``--wait 1`` replaces ten seconds of sleep by nothing, and the other one fifteen: readiness and the approval
        of certificates are ours.
        """
        flags = ["--wait", "1", "--skip-csr-approval", "--image", self.image, "--cni", self.network]
        flags += ["--workers", str(self.workers)] if self.workers else []
        flags += ["--kernel-path", self.kernel] if self.kernel else []
        flags += ["--cpus", str(self.cpus)] if self.cpus else []
        return flags + (["--memory", f"{self.memory_mib}m"] if self.memory_mib else [])

    def nodes(self, cluster: str) -> list[str]:
        """The names of the cluster's nodes, which are those of its machines (K ac.rs:939, 1025)."""
        numbered = [f"{cluster}-worker" + (f"-{number}" if number > 1 else "") for number in range(1, self.workers + 1)]
        return [f"{cluster}-control-plane", *numbered]


def refuse_name(cluster: str) -> None:
    """Raise :class:`SpecError` for a name that kina would take, and harm somebody with."""
    if not _NAME.fullmatch(cluster) or len(cluster) > _LONGEST_NAME or cluster in _RESERVED:
        raise SpecError(
            f"{cluster!r} is no name for a kina cluster: lower-case letters, digits, dashes; at most {_LONGEST_NAME} "
            f"characters; none of {', '.join(_RESERVED)}"
        )
