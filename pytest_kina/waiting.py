"""Deadlines, polling, and the one HTTPS probe that needs no Kubernetes client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from http.client import HTTPConnection

_T = TypeVar("_T")


class Deadline:
    """A moment on the monotonic clock, ``seconds`` from now. Clock steps and suspended wall clocks do not move it."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.seconds = seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        """True when no time is left."""
        return self.elapsed >= self.seconds


def wait_until(
    look: Callable[[], _T | None],
    deadline: Deadline,
    *,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> _T | None:
    """Call ``look`` every ``interval`` seconds until it returns something true, and return that.

    Returns None at the deadline; the caller knows what to say then. ``look`` is called at least once, and may raise
    to end the wait early (a component that has exited will not become ready by waiting).
    """
    while True:
        if seen := look():
            return seen
        if deadline.expired:
            return None
        sleep(min(interval, max(deadline.remaining, 0.001)))


class Probe:
    """GET requests over one verified HTTPS connection; standard library only.

    The server's certificate must be signed by ``ca``, so an answer is also the proof that it comes from our server
    and not from a stranger who took the port. ``certificate`` holds the client's certificate and key (PEM, one file).
    """

    def __init__(self, host: str, port: int, *, ca: Path, certificate: Path, timeout: float = 5.0) -> None:
        import ssl  # 10 ms that a run without clusters need not pay

        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(str(certificate))
        self._address = (host, port)
        self._timeout = timeout
        self._connection: HTTPConnection | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of ``GET path``. Raises :class:`OSError` when nobody (or the wrong one) answers in time."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one request with an optional JSON body. Raises :class:`OSError` like :meth:`get`."""
        from http.client import HTTPException

        if self._connection is None:
            self._connection = self._open()
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except HTTPException as error:
            self.close()
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        except OSError:
            self.close()
            raise

    def _open(self) -> HTTPConnection:
        from http.client import HTTPSConnection

        host, port = self._address
        return HTTPSConnection(host, port, context=self._context, timeout=self._timeout)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
