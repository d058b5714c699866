"""What clusters can do, in one vocabulary: what a provider claims, what a spec implies, what ``needs`` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pytest_kina.errors import SpecError
from pytest_kina.spec import ClusterSpec, Isolation

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "pods": "programs of pods really run: logs, exec and port-forward work",
        "images": "images of this machine can be loaded into the cluster: `images=[...]`",
        "loadbalancer": "a Service of type LoadBalancer gets an address that this machine reaches",
        "multi-node": "several real nodes: `workers=N`",
        "resources": "processors and memory of a node can be chosen: `cpus=N`, `memory='4Gi'`",
        "simulated-nodes": "many Ready nodes without a kubelet: `simulated_nodes=N`",
        "versions": "the Kubernetes version can be chosen",
        "profiles": "etcd and the API server alone: `profile='api'`",
        "feature-gates": "feature gates can be switched: `feature_gates={...}`",
        "api-server-args": "flags of the API server can be set: `api_server_args={...}`",
        "content": "objects are there from the start: `crds=[...]`, `helm=[...]`, `manifests=[...]`, `bootstrap={...}`",
        "users": "users with a certificate of their own: `as_user`, `kubeconfig_for`",
        "isolation": "the cluster can be one test's alone: `isolation='exclusive'` or `'fresh'`",
        "reset": "a used cluster is cleaned, and used again; without it, it is deleted",
    }
)
"""Every capability, with one sentence for people. Providers claim some; anything else is an error."""

ASKABLE = tuple(name for name in CAPABILITIES if name != "reset")
"""What ``needs`` takes: all but what makes no difference to a test."""


def implied(spec: ClusterSpec, isolation: Isolation = Isolation.NAMESPACE) -> frozenset[str]:
    """The capabilities without which no provider can do what ``spec`` and ``isolation`` say.

    One simulated node is the default and stands for *a node to run pods on*, which real nodes are too; so only more
    than one is asked for. A version is not implied either: whoever has only one compares it with the spec.
    """
    asked = {
        "images": spec.images,
        "multi-node": spec.workers,
        "resources": spec.cpus or spec.memory_mib,
        "simulated-nodes": spec.simulated_nodes > 1,
        "profiles": spec.profile != "workloads",
        "feature-gates": spec.feature_gates,
        "api-server-args": spec.api_server_args,
        "content": spec.content,
        "isolation": isolation is not Isolation.NAMESPACE,
    }
    return frozenset(name for name, wanted in asked.items() if wanted)


def refuse_unable(
    provider: str, claimed: Iterable[str], spec: ClusterSpec, isolation: Isolation = Isolation.NAMESPACE
) -> None:
    """Raise :class:`SpecError` that names every capability that ``spec`` asks for and ``provider`` does not claim."""
    if missing := sorted((implied(spec, isolation) | set(spec.needs)) - set(claimed)):
        explained = "".join(f"\n  {name}: {CAPABILITIES[name]}" for name in missing)
        raise SpecError(
            f"provider {provider!r} cannot do what the test asks for:{explained}",
            next_step="choose another provider, or leave out what needs this",
        )
