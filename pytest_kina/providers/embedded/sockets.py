"""HTTP over a socket in a private directory, which is how etcd is asked."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.waiting import Probe

if TYPE_CHECKING:
    from http.client import HTTPConnection

_ROOM = 100
"""Bytes that the path of a socket may have on every system (unix(7): 107 on Linux, 103 on macOS)."""


class SocketProbe(Probe):
    """A :class:`~pytest_kina.waiting.Probe` of the server behind a socket; its place says whose server it is."""

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        self._connection = None

    def _open(self) -> HTTPConnection:
        from http.client import HTTPConnection

        connection = HTTPConnection("localhost", timeout=self._timeout)
        connection.auto_open = 0  # it would connect to a port
        connection.sock = _connected(self._path, self._timeout)
        return connection


def _connected(path: Path, timeout: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(timeout)
    try:
        if len(os.fsencode(path)) <= _ROOM:
            made.connect(str(path))
        else:
            with tempfile.TemporaryDirectory(prefix="kina-") as short:
                link = Path(short) / "c"
                link.symlink_to(path.parent.absolute())
                made.connect(str(link / path.name))
    except OSError:
        made.close()
        raise
    return made
