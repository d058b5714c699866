"""A real HTTP server on loopback that publishes releases as the official ones do, and misbehaves when told to.

What it serves are real executables of some hundred bytes, assembled here: they print one line and exit.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PRINTS = {
    **dict.fromkeys(SERVERS, "Kubernetes {}\n"),
    "kubectl": "Client Version: {}\n",
    "etcd": "etcd Version: {}\n",
    "etcdutl": "etcdutl version: {}\n",
    "kwok": "kwok version {}\n",
}
Trouble = Literal["silent", "trickle", "short", "garbage"]


def executable(text: str, arch: str) -> bytes:
    """A Linux program that writes ``text`` and exits with 0, whatever its arguments."""
    message, base, head = text.encode(), 0x400000, 64 + 56
    if arch == "amd64":
        machine = 62
        # mov eax,1; mov edi,1; lea rsi,[rip+16]; mov edx,len; syscall; mov eax,60; xor edi,edi; syscall
        code = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35\x10\0\0\0\xba" + struct.pack("<I", len(message))
        code += b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05"
    else:
        machine = 183
        # mov x0,1; adr x1,+28; mov x2,len; mov x8,64; svc 0; mov x0,0; mov x8,93; svc 0
        words = (0xD2800020, 0x100000E1, 0xD2800002 | len(message) << 5, 0xD2800808)
        code = struct.pack("<8I", *words, 0xD4000001, 0xD2800000, 0xD2800BA8, 0xD4000001)
    size = head + len(code) + len(message)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return identity + elf + segment + code + message


class ReleaseServer:
    """Files by path, and troubles by path: an HTTP status to answer with, or a way to misbehave."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.troubles: dict[str, int | Trouble] = {}
        self.redirects: dict[str, str] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()

    def publish_kubernetes(self, version: str, arch: str, *, says: str | None = None) -> None:
        """The three servers and kubectl; ``says`` is the version that they print, when it is another one."""
        for name in (*SERVERS, "kubectl"):
            content = executable(PRINTS[name].format(says or version), arch)
            path = f"/release/{version}/bin/linux/{arch}/{name}"
            self.files[path] = content
            self.files[f"{path}.sha512"] = hashlib.sha512(content).hexdigest().encode()
            self.files[f"{path}.sha256"] = hashlib.sha256(content).hexdigest().encode()

    def publish_etcd(self, version: str, arch: str, *, extra: tarfile.TarInfo | None = None) -> str:
        """An archive as etcd's, with one more member when given; returns its path."""
        folder = f"etcd-{version}-linux-{arch}"
        contents = {name: executable(PRINTS[name].format(version[1:]), arch) for name in ("etcd", "etcdutl")}
        archive = tar({f"{folder}/{name}": content for name, content in contents.items()}, extra)
        base = f"/etcd-io/etcd/releases/download/{version}"
        self.files[f"{base}/{folder}.tar.gz"] = archive
        self.files[f"{base}/SHA256SUMS"] = f"{hashlib.sha256(archive).hexdigest()}  {folder}.tar.gz\n".encode()
        return f"{base}/{folder}.tar.gz"

    def publish_kwok(self, version: str, arch: str) -> None:
        """A bare executable, and the release's description with its digest."""
        content = executable(PRINTS["kwok"].format(version), arch)
        name, repository = f"kwok-linux-{arch}", "kubernetes-sigs/kwok"
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        described = {"assets": [{"name": name, "digest": digest}]}
        self.files[f"/{repository}/releases/download/{version}/{name}"] = content
        self.files[f"/repos/{repository}/releases/tags/{version}"] = json.dumps(described).encode()


def tar(files: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> bytes:
    """A compressed tar with these files, and one more (empty) member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if extra is not None:
            archive.addfile(extra)
    return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    release: ReleaseServer

    def do_GET(self) -> None:
        self.release.requests.append(self.path)
        trouble = self.release.troubles.get(self.path)
        content = self.release.files.get(self.path)
        if self.path in self.release.redirects:
            self.send_response(302)
            self.send_header("Location", self.release.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif isinstance(trouble, int):
            self.send_error(trouble)
        elif content is None:
            self.send_error(404)
        else:
            self._send(content, trouble)

    def _send(self, content: bytes, trouble: Trouble | None) -> None:
        if trouble == "garbage":
            content = bytes(len(content))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if trouble == "silent":
            self.release.closing.wait()
        elif trouble == "trickle":
            self._trickle(content)
        else:
            self.wfile.write(content[: len(content) // 2] if trouble == "short" else content)

    def _trickle(self, content: bytes) -> None:
        for number in content:
            self.wfile.write(bytes([number]))
            if self.release.closing.wait(0.05):
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        """Say nothing: the tests look at ``requests``."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what many tests want; everything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving() -> Iterator[ReleaseServer]:
    """A server on a port of its own, until the end of the block."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    release = ReleaseServer(f"http://127.0.0.1:{server.server_port}")
    handler.release = release
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield release
    finally:
        release.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
