"""HTTP over a socket in a directory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from pytest_kina.providers.embedded.sockets import SocketProbe


class Handler(BaseHTTPRequestHandler):
    """Answers with the path; hangs up after ``/last``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingMixIn, UnixStreamServer):
    """One thread per connection."""

    daemon_threads = True


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of a server, which was made from within its directory, as clusters do."""
    monkeypatch.chdir(tmp_path)
    with Server("it.sock", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield tmp_path / "it.sock"
        server.shutdown()


def test_one_connection_serves_many_questions_and_a_new_one_follows_its_end(served: Path) -> None:
    """A connection that the server has closed is an error once, never another server's answer."""
    with closing(SocketProbe(served)) as probe:
        answers = [probe.get(path) for path in ("/a", "/b", "/last")]
        assert answers == [(200, b"/a"), (200, b"/b"), (200, b"/last")]
        with pytest.raises(ConnectionError):
            probe.get("/c")
        assert probe.get("/d") == (200, b"/d")


def test_a_path_that_is_too_long_for_a_socket_is_reached_all_the_same(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a shorter way that is gone afterwards."""
    deep, short = tmp_path / ("d" * 120), tmp_path / "short"
    deep.mkdir()
    short.mkdir()
    served.rename(deep / "it.sock")
    monkeypatch.setattr("tempfile.tempdir", str(short))
    with closing(SocketProbe(deep / "it.sock")) as probe:
        assert probe.get("/a") == (200, b"/a")
    assert list(short.iterdir()) == []


def test_nobody_behind_the_socket_is_an_os_error(tmp_path: Path) -> None:
    """Like a port where nobody listens."""
    with closing(SocketProbe(tmp_path / "none.sock")) as probe, pytest.raises(FileNotFoundError):
        probe.get("/")
