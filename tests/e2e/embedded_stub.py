"""A stand-in for every component of the embedded provider: a real process where the real one is, without a control plane.

A copy named like the component, with a first line that names the interpreter, is the program. ``behaviour.json``
beside it may change what it does: ``{"exit": {component: code}, "says": text, "recovers": bool, "silent": bool,
"hangs_up": bool, "answers": {path: status}}``. One that ``recovers`` exits only the first time; ``says`` are its last
words.
"""

import json
import signal
import socket
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

NAME = Path(sys.argv[0]).name
FLAGS = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
BEHAVIOUR = json.loads(Path(sys.argv[0]).with_name("behaviour.json").read_text())
NODES: list[dict] = []
PODS: set[str] = set()


class Server(ThreadingHTTPServer):
    """Shares its port with the supervisor's reservation, as the real components do."""

    allow_reuse_port = True
    daemon_threads = True

    def server_bind(self) -> None:
        """Set the option by hand: ``allow_reuse_port`` has no effect on every Python."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


class Handler(BaseHTTPRequestHandler):
    """Answers what the readiness ladder asks."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer 200, unless the behaviour says otherwise."""
        status = BEHAVIOUR.get("answers", {}).get(self.path.partition("?")[0], 200)
        if "/pods/" in self.path and self.path not in PODS:
            status = 404
        self._reply(status, self._document() if status == 200 else {})

    def do_POST(self) -> None:
        """Accept a node, which is Ready at once, a pod, which runs at once, and anything else.

        With ``hangs_up``, end the connection instead of answering.
        """
        if BEHAVIOUR.get("hangs_up"):
            self.close_connection = True
            return
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v1/nodes":
            NODES.append(sent | {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        elif self.path.endswith("/pods"):
            PODS.add(f"{self.path}/{sent['metadata']['name']}")
        self._reply(BEHAVIOUR.get("answers", {}).get("POST", 201), sent)

    def do_DELETE(self) -> None:
        """Let anything go."""
        PODS.discard(self.path.partition("?")[0])
        self._reply(200, {})

    def _document(self) -> dict:
        if self.path == "/health":
            return {"health": "true"}
        if self.path == "/api/v1/nodes":
            return {"items": NODES}
        if "/pods/" in self.path:
            return {"status": {"phase": "Running"}}
        if self.path.endswith("/kube-root-ca.crt"):
            return {"data": {"ca.crt": Path(FLAGS["tls-cert-file"]).with_name("serving-ca.crt").read_text()}}
        return {}

    def _reply(self, status: int, document: dict) -> None:
        verbose = b"[+]ping ok\n[-]poststarthook/rbac failed: reason withheld\n"
        body = verbose if self.path == "/readyz?verbose" else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(port: int, certificate: str, key: str) -> None:
    """Serve TLS on the port until killed; with ``silent``, accept connections and never answer."""
    server = Server(("127.0.0.1", port), Handler)
    if BEHAVIOUR.get("silent") and NAME == "kube-apiserver":
        signal.pause()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


sys.stdout.write(f"{NAME} begins\n")
sys.stdout.flush()
FAILED = Path(sys.argv[0]).with_name(f"{NAME}.failed")
if (code := BEHAVIOUR.get("exit", {}).get(NAME)) and not (BEHAVIOUR.get("recovers") and FAILED.exists()):
    FAILED.touch()
    sys.stdout.write(f"{NAME}: fatal: {BEHAVIOUR.get('says', 'this build refuses to run')}\n")
    sys.exit(code)
if NAME == "etcd":
    ThreadingUnixStreamServer(FLAGS["listen-client-urls"].removeprefix("unix://"), Handler).serve_forever()
elif NAME == "kube-apiserver":
    serve(int(FLAGS["secure-port"]), FLAGS["tls-cert-file"], FLAGS["tls-private-key-file"])
else:
    signal.pause()
