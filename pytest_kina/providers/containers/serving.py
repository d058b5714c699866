"""Approval of kubelets' serving certificates, which a cluster with ``serverTLSBootstrap`` leaves to its owner.

Only what a kubelet of an expected node asks for is approved (Kubernetes documentation, "Certificate Signing Requests",
signer ``kubernetes.io/kubelet-serving``): requested by that node itself, for a server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_kina.waiting import Probe

_REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SIGNER = "kubernetes.io/kubelet-serving"
_APPROVED = {
    "type": "Approved",
    "status": "True",
    "reason": "KinaApproved",
    "message": "A node of this test cluster asked for its serving certificate.",
}


def approve_serving(probe: Probe, nodes: Sequence[str]) -> str:
    """Approve what the kubelets of ``nodes`` ask for; one sentence about what is still missing, or nothing.

    Raises :class:`OSError` when the server does not answer.
    """
    status, body = probe.get(_REQUESTS)
    if status != 200:
        return f"GET {_REQUESTS} was answered with {status}"
    requests = [request for request in json.loads(body)["items"] if _node(request) in nodes]
    refused = [problem for request in requests if not _decided(request) and (problem := _approve(probe, request))]
    served = {_node(request) for request in requests if request.get("status", {}).get("certificate")}
    missing = sorted(set(nodes) - served)
    return "; ".join(refused) or (f"no certificate yet for {', '.join(missing)}" if missing else "")


def _node(request: dict[str, Any]) -> str:
    """The node that asks for itself; empty for every other request."""
    spec = request["spec"]
    honest = (
        spec["signerName"] == _SIGNER
        and spec.get("username", "").startswith("system:node:")
        and "system:nodes" in (spec.get("groups") or ())
        and "server auth" in (spec.get("usages") or ())
        and "client auth" not in (spec.get("usages") or ())
    )
    return str(spec["username"]).removeprefix("system:node:") if honest else ""


def _decided(request: dict[str, Any]) -> bool:
    return bool(request.get("status", {}).get("conditions"))


def _approve(probe: Probe, request: dict[str, Any]) -> str:
    name = request["metadata"]["name"]
    document = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        **request,
        "status": {**request.get("status", {}), "conditions": [_APPROVED]},
    }
    status, body = probe.request("PUT", f"{_REQUESTS}/{name}/approval", json.dumps(document).encode())
    # 409: it changed meanwhile; the next look decides again.
    return (
        ""
        if status in (200, 409)
        else f"approving {name} was refused with {status}: {body[:200].decode(errors='replace')}"
    )
