"""A Kubernetes API server reduced to what readiness is proven by; it becomes ready as late as the contract says (9)."""

from __future__ import annotations

import json
import socketserver
import ssl
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from state import State

_CSR = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


class Objects:
    """What the API shows at this moment."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._name = name

    def get(self, path: str) -> tuple[int, Any]:
        """Status and document of ``GET path``."""
        with self._state.document(f"api-{self._name}.json") as document:
            known = dict(document)
        after = self._state.settings["after"]
        age = (time.time() - known["born"]) / max(float(self._state.settings["scale"]), 1e-9)
        shown = known["names"] if path.startswith("/api/v1/nodes") else ()
        nodes = {name: self._node(name, known, age > after["node"]) for name in shown}
        fixed = {
            "/readyz": (200, "ok"),
            "/version": (200, {"gitVersion": self._version()}),
            "/api/v1/namespaces": (
                200,
                {
                    "metadata": {"resourceVersion": "1"},
                    "items": [{"metadata": {"name": name}} for name in ("default", *known["namespaces"])],
                },
            ),
            "/api/v1/namespaces/default": (200, {"metadata": {"name": "default"}}),
            "/api/v1/nodes": (200, {"items": list(nodes.values())}),
            **{f"/api/v1/nodes/{name}": (200, node) for name, node in nodes.items()},
            _CSR: (200, {"items": [_csr(name, name in known["approved"]) for name in known["names"]]}),
        }
        if path in fixed:
            return fixed[path]
        late = {
            "/api/v1/namespaces/default/serviceaccounts/default": ("account", {"metadata": {"name": "default"}}),
            "/api/v1/namespaces/default/configmaps/kube-root-ca.crt": ("account", {"data": {"ca.crt": self._ca()}}),
            "/apis/apps/v1/namespaces/kube-system/deployments/coredns": ("node", _coredns(age > after["coredns"])),
        }
        if path in late and age > after[late[path][0]]:
            return 200, late[path][1]
        if path.endswith("/log"):
            served = set(known["names"]) <= set(known["approved"])
            return (200, "log") if served else (500, {"message": "remote error: tls: internal error"})
        return 404, {"kind": "Status", "message": f"{path} not found"}

    def create_namespace(self, name: str) -> tuple[int, Any]:
        """``POST /api/v1/namespaces``."""
        with self._state.document(f"api-{self._name}.json") as document:
            document["namespaces"].append(name)
        return 201, {"metadata": {"name": name}}

    def approve(self, path: str) -> tuple[int, Any]:
        """``PUT …/certificatesigningrequests/csr-NODE/approval``."""
        name = path.removeprefix(f"{_CSR}/csr-").removesuffix("/approval")
        if self._state.fault("api approve"):
            return 500, {"message": "the signer is away"}
        with self._state.document(f"api-{self._name}.json") as document:
            if name not in document["names"]:
                return 404, {"message": f"{name} not found"}
            document["approved"] = sorted({*document["approved"], name})
        return 200, _csr(name, approved=True)

    def _version(self) -> str:
        machine = self._state.machine(self._name) or {}
        return str(
            self._state.settings.get("claims") or machine.get("kubernetes") or self._state.settings["kubernetes"]
        )

    def _node(self, name: str, known: dict[str, Any], ready: bool) -> dict[str, Any]:
        head = name == known["names"][0]
        taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
        address = {"type": "InternalIP", "address": (self._state.machine(name) or {}).get("ip", "")}
        return {
            "metadata": {"name": name, "labels": {"node-role.kubernetes.io/control-plane": ""} if head else {}},
            "spec": {"taints": [taint] if head and known["tainted"] else []},
            "status": {
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                "addresses": [{"type": "Hostname", "address": name}, address],
            },
        }

    def _ca(self) -> str:
        return (self._state.directory / "pki" / "ca.crt").read_text()


def _csr(name: str, approved: bool) -> dict[str, Any]:
    status: dict[str, Any] = (
        {"conditions": [{"type": "Approved", "status": "True"}], "certificate": "Li4u"} if approved else {}
    )
    spec = {
        "signerName": "kubernetes.io/kubelet-serving",
        "username": f"system:node:{name}",
        "groups": ["system:nodes", "system:authenticated"],
        "usages": ["digital signature", "server auth"],
    }
    return {"metadata": {"name": f"csr-{name}"}, "spec": spec, "status": status}


def _coredns(available: bool) -> dict[str, Any]:
    condition = {"type": "Available", "status": "True" if available else "False"}
    return {"metadata": {"name": "coredns"}, "spec": {"replicas": 2}, "status": {"conditions": [condition]}}


class Handler(socketserver.StreamRequestHandler):
    """One connection; the TLS handshake happens in its own thread. Not by http.server, which takes long to import."""

    objects: Objects
    context: ssl.SSLContext

    def setup(self) -> None:
        """Shake hands."""
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        """Answer requests until the client hangs up."""
        while line := self.rfile.readline():
            method, path, _ = line.decode().split()
            headers = {}
            while header := self.rfile.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            self._answer(*self._act(method, path.partition("?")[0], body))

    def _act(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if method == "GET":
            return self.objects.get(path)
        if method == "POST":
            return self.objects.create_namespace(json.loads(body)["metadata"]["name"])
        return self.objects.approve(path)

    def _answer(self, status: int, document: Any) -> None:
        text = isinstance(document, str)
        body = document.encode() if text else json.dumps(document).encode()
        kind = "text/plain" if text else "application/json"
        head = f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


class Server(socketserver.ThreadingTCPServer):
    """Quiet about clients that hang up."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A client that only looks whether something listens is no error."""


def main() -> None:
    """Listen until killed, or until the host's directory is gone."""
    directory, name, address, port, _ = sys.argv[1:]
    state = State(Path(directory))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state.directory / "pki" / "server.crt", state.directory / "pki" / "server.key")
    context.load_verify_locations(state.directory / "pki" / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    Handler.objects, Handler.context = Objects(state, name), context
    server = Server((address, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    with suppress(KeyboardInterrupt):
        while (state.directory / "settings.json").exists():
            time.sleep(1)


if __name__ == "__main__":
    main()
