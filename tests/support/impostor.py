"""A server that takes the place of somebody else's: ``python -m tests.support.impostor <port> <log> [<certificate> <key> <ca>]``.

It listens on the port although that is reserved, as any process of the same user can (SO_REUSEPORT, socket(7)). With
papers it speaks TLS, asks for a client's certificate, and answers every request with 200; without,
it just reads. What each visitor brought is one JSON line in the log: ``{"secured": …, "certificate": …, "read": …}``.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path

_PATIENCE = 0.5
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def serve(port: int, log: Path, context: ssl.SSLContext | None) -> None:
    """Receive visitors, one after the other, for ever."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        log.touch()
        while True:
            plain, _ = listener.accept()
            plain.settimeout(_PATIENCE)
            with plain, log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(receive(plain, context)) + "\n")


def receive(plain: socket.socket, context: ssl.SSLContext | None) -> dict[str, bool | str]:
    """What one visitor brings."""
    if context is None:
        return {"secured": False, "certificate": False, "read": _read(plain)}
    try:
        with context.wrap_socket(plain, server_side=True) as secured:
            read = _read(secured)
            with suppress(OSError):
                secured.sendall(_ANSWER)
            return {"secured": True, "certificate": secured.getpeercert(binary_form=True) is not None, "read": read}
    except OSError:
        return {"secured": False, "certificate": False, "read": ""}


def _read(stream: socket.socket) -> str:
    found = b""
    with suppress(OSError):
        while part := stream.recv(65_536):
            found += part
            if b"\r\n\r\n" in found:
                break
    return found.decode("latin-1")


def _trusting(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]), _trusting(*sys.argv[3:]) if sys.argv[3:] else None)
