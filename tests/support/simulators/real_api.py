"""The real control plane behind a machine: our embedded provider, with the objects that kubeadm and kubelets make.

``python -m tests.support.simulators.real_api ACTION STATE MACHINE DETAIL``; prints JSON.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pytest_kina.certificates import issue_client
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider, credentials
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder
from pytest_kina.waiting import Probe

_SPEC = ClusterSpec(simulated_nodes=0)
_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
_CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "kubeadm:node-certificates"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-bootstrapper"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
}
_COREDNS = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "coredns", "namespace": "kube-system"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
        "template": {
            "metadata": {"labels": {"k8s-app": "kube-dns"}},
            "spec": {
                "tolerations": [{"key": _TAINT["key"], "effect": "NoSchedule"}],
                "containers": [{"name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.13.1"}],
            },
        },
    },
}


class Behind:
    """The control plane of one machine."""

    def __init__(self, state: Path, machine: str) -> None:
        self.directory = state / "real" / machine
        lock = state / "real" / f"{machine}.lock"
        tidy = ("/bin/echo", '{"wake_after": null, "watch": [], "stop": false}')
        self.place = Place(name=f"{state.parent.name}-{machine}", directory=self.directory, slot_lock=lock, tidy=tidy)
        self.provider = EmbeddedProvider()

    def begin(self, address: str) -> dict[str, Any]:
        """Start it, with a certificate for ``address``."""
        self.directory.mkdir(mode=0o700, parents=True)
        self.place.slot_lock.touch()
        credentials._API_NAMES = (*credentials._API_NAMES, address)  # type: ignore[misc]
        self.provider.prepare(_SPEC, silent)
        stopwatch = TimingRecorder(run="simulator", worker="main").bind()
        self.provider.create(_SPEC, self.place, stopwatch, 120)
        self.provider.adopt(self.place)
        self.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _BINDING)
        self.send("POST", "/apis/apps/v1/namespaces/kube-system/deployments", _COREDNS)
        pki = self.directory / "pki"
        files = {"ca": "serving-ca.crt", "certificate": "kina-admin.crt", "key": "kina-admin.key"}
        admin = {key: base64.b64encode((pki / name).read_bytes()).decode() for key, name in files.items()}
        return {"port": self.port, "admin": admin}

    def enlist(self, node: str) -> None:
        """A kubelet registers, and asks for its serving certificate."""
        existing = self.send("GET", "/api/v1/nodes")["items"]
        labels = {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}
        labels |= {} if existing else {_TAINT["key"]: ""}
        document = {
            "metadata": {"name": node, "labels": labels},
            "spec": {"taints": [] if existing else [_TAINT]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"10.64.0.{len(existing) + 2}"}]},
        }
        self.send("POST", "/api/v1/nodes", document)
        request = {
            "metadata": {"name": f"csr-{node}"},
            "spec": {
                "request": base64.b64encode(_request(node)).decode(),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
            },
        }
        identity = self.directory / "kubelet.pem"
        identity.write_bytes(issue_client(self.directory, f"system:node:{node}", ("system:nodes",)))
        self.send("POST", _CSRS, request, identity=identity)

    def untaint(self, _detail: str) -> None:
        """Take the taint from every node."""
        for node in self.send("GET", "/api/v1/nodes")["items"]:
            node["spec"].pop("taints", None)
            self.send("PUT", f"/api/v1/nodes/{node['metadata']['name']}", node)

    def approve(self, _detail: str) -> None:
        """Approve every certificate that is pending."""
        for request in self.send("GET", _CSRS)["items"]:
            request["status"]["conditions"] = [{"type": "Approved", "status": "True", "reason": "Kina", "message": "-"}]
            self.send("PUT", f"{_CSRS}/{request['metadata']['name']}/approval", request)

    def end(self, _detail: str) -> None:
        """End it."""
        self.provider.delete(self.place)
        shutil.rmtree(self.directory)

    @property
    def port(self) -> int:
        """Where the API server listens on 127.0.0.1."""
        return credentials.api_port(self.directory / "kubeconfig")

    def send(self, method: str, path: str, document: Any = None, identity: Path | None = None) -> Any:
        """One request, which must succeed."""
        pki = self.directory / "pki"
        probe = Probe("127.0.0.1", self.port, ca=pki / "serving-ca.crt", certificate=identity or pki / "kina-admin.pem")
        with closing(probe):
            status, body = probe.request(method, path, json.dumps(document).encode() if document else None)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status}: {body.decode()}")
        return json.loads(body)


def _request(node: str) -> bytes:
    organisation = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:nodes")
    name = x509.Name([organisation, x509.NameAttribute(x509.NameOID.COMMON_NAME, f"system:node:{node}")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
    key = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def main() -> None:
    """One action."""
    action, state, machine, detail = sys.argv[1:]
    act: Callable[[str], Any] = getattr(Behind(Path(state), machine), action)
    print(json.dumps(act(detail)))


if __name__ == "__main__":
    main()
