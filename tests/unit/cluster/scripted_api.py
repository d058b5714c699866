"""A small API server on loopback whose answers each test writes down."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Request = dict[str, Any]
Answer = tuple[int, dict[str, str], list[Any]]
Responder = Callable[[Request], Answer | None]


def resource(plural: str, kind: str, *short: str, namespaced: bool = True, verbs: str = "get list watch delete") -> Any:
    """One type, as aggregated discovery describes it."""
    return {
        "resource": plural,
        "responseKind": {"kind": kind},
        "scope": "Namespaced" if namespaced else "Cluster",
        "singularResource": kind.lower(),
        "shortNames": list(short),
        "verbs": verbs.split(),
    }


def group(name: str, *resources: Any, version: str = "v1") -> Any:
    """One API group in one version, as aggregated discovery describes it."""
    return {"metadata": {"name": name}, "versions": [{"version": version, "resources": list(resources)}]}


CORE = group(
    "",
    resource("configmaps", "ConfigMap", "cm"),
    resource("events", "Event", "ev"),
    resource("namespaces", "Namespace", "ns", namespaced=False),
    resource("pods", "Pod", "po"),
    resource("serviceaccounts", "ServiceAccount", "sa"),
)
APPS = group("apps", resource("deployments", "Deployment", "deploy"))


class FakeApi:
    """Serves discovery from ``groups`` and everything else from ``responders``, the first that answers."""

    def __init__(self) -> None:
        self.groups: list[Any] = [APPS]
        self.responders: list[Responder] = []
        self.requests: list[Request] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Answer the requests for ``path`` (with ``watch`` apart: ``WATCH``), one by one; the last answer stays."""
        left = list(answers)

        def respond(request: Request) -> Answer | None:
            if (request["method"], request["path"]) != (method, path):
                return None
            return left.pop(0) if len(left) > 1 else left[0]

        self.responders.append(respond)

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests that came for ``path``."""
        return [request for request in self.requests if (request["method"], request["path"]) == (method, path)]

    def answer(self, request: Request) -> Answer:
        """What is sent for ``request``."""
        self.requests.append(request)
        if request["path"] in {"/api", "/apis"}:
            items = [CORE] if request["path"] == "/api" else self.groups
            return ok({"kind": "APIGroupDiscoveryList", "items": items})
        for respond in self.responders:
            if (found := respond(request)) is not None:
                return found
        return status(404, "NotFound", f"nothing was written down for {request['method']} {request['path']}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                method = "WATCH" if query.get("watch") else self.command
                request = {"method": method, "path": parts.path, "query": query, "body": self.rfile.read(length)}
                code, headers, lines = fake.answer(
                    {**request, "headers": {name.title(): value for name, value in self.headers.items()}}
                )
                content = b"".join(
                    line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
                )
                self.send_response(code)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def ok(document: Any, *more: Any) -> Answer:
    """200 with one JSON document, or (a watch) one per line."""
    return 200, {}, [document, *more]


def items(*objects: Any, version: str = "10", kind: str = "v1/PodList") -> Answer:
    """A list of ``objects`` at ``version``."""
    api_version, _, name = kind.rpartition("/")
    metadata = {"resourceVersion": version}
    return ok({"apiVersion": api_version, "kind": name, "metadata": metadata, "items": list(objects)})


def status(code: int, reason: str, message: str, headers: dict[str, str] | None = None, **details: Any) -> Answer:
    """An error as the API server sends it."""
    document = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return code, headers or {}, [document]


def thing(name: str, version: str = "10", *, namespace: str = "default", uid: str = "u1", **fields: Any) -> Any:
    """An object with just enough metadata."""
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": version}
    return {"metadata": metadata, **fields}
