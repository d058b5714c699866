"""Sends requests from several threads, as fast as pace and concurrency allow, and keeps what came back."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster.refusals import Call, unreachable
from pytest_kina.load.operations import Operation
from pytest_kina.load.throttle import MOST_AT_ONCE, Concurrency, Pace

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from urllib3 import BaseHTTPResponse, PoolManager

_CONNECT, _READ = 5.0, 60.0
_ATTEMPTS = 10
_LONGEST_PAUSE = 30.0
"""Seconds; a server that asks for more is asked again after so long."""
_USUAL_PAUSE = 1.0
"""Seconds, when a refusal says nothing of when to come again."""
_EXAMPLES = 5


@dataclass(slots=True)
class Tally:
    """What came back: operations by ``verb kind``, seconds of each request, refusals, and the first few errors."""

    done: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    throttled: int = 0
    failed: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Operations that are being sent."""

    left: Iterator[Operation]
    told: Callable[[int], None]
    pace: Pace | None
    until: float
    begun: int = 0


class Sender:
    """Sends to one API server as the user of ``client``."""

    def __init__(self, client: ApiClient, *, per_second: float, cluster: str = "") -> None:
        self.tally = Tally()
        self.concurrency = Concurrency()
        self._pace = Pace(per_second)
        self._client = client
        self._call = Call(verb="send load to", subject="the API server", user="", cluster=cluster)
        self._pool = _pool(client)
        self._lock = threading.Lock()
        self._broken: Exception | None = None

    def send(
        self,
        operations: Iterable[Operation],
        *,
        told: Callable[[int], None],
        pace: Pace | None = None,
        until: float = float("inf"),
    ) -> int:
        """Send all operations, or those that can begin before ``until`` (monotonic clock); how many that were.

        ``pace`` is for whole operations, beside that for requests. ``told`` is called with the number so far, by one
        thread at a time. Raises :class:`~pytest_kina.errors.ApiError` when the server does not answer.
        """
        batch = _Batch(iter(operations), told, pace, until)
        threads = [threading.Thread(target=self._work, args=(batch,), daemon=True) for _ in range(MOST_AT_ONCE)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            batch.until = 0.0
            raise
        if self._broken is not None:
            raise unreachable(self._call, self._broken) from self._broken
        return batch.begun

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _work(self, batch: _Batch) -> None:
        from urllib3.exceptions import HTTPError

        while True:
            self.concurrency.enter()
            seconds, refused = None, False
            try:
                if (operation := self._next(batch)) is None:
                    return
                if batch.pace is not None:
                    time.sleep(batch.pace.turn())
                seconds, refused = self._perform(operation)
                with self._lock:
                    batch.told(batch.begun)
            except (HTTPError, OSError) as error:
                self._broken = error
            finally:
                self.concurrency.leave(seconds, refused=refused)

    def _next(self, batch: _Batch) -> Operation | None:
        with self._lock:
            if self._broken is not None or time.monotonic() >= batch.until:
                return None
            operation = next(batch.left, None)
            batch.begun += operation is not None
            return operation

    def _perform(self, operation: Operation) -> tuple[float, bool]:
        """All requests of one operation: the seconds of the last one, and whether any was refused for now."""
        took, refused = 0.0, False
        for method, path, body in operation.requests:
            response, took, refusals = self._insist(method, path, body)
            refused = refused or refusals > 0
            if not self._keep(operation, response, took, refusals):
                return took, refused
        with self._lock:
            self.tally.done[f"{operation.verb} {operation.kind}"] += 1
        return took, refused

    def _insist(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[BaseHTTPResponse, float, int]:
        """The answer to a request, how long it took, and how often the server wanted it later before."""
        refusals = 0
        while True:
            time.sleep(self._pace.turn())
            began = time.monotonic()
            response = self._request(method, path, body)
            took = time.monotonic() - began
            if response.status not in (429, 503) or refusals == _ATTEMPTS:
                return response, took, refusals
            refusals += 1
            self._pace.pause(retry_after(response.headers.get("Retry-After")))

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> BaseHTTPResponse:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"}
        headers["Content-Type"] = kind
        headers |= {entry["key"]: entry["value"] for entry in self._client.configuration.auth_settings().values()}
        return self._pool.request(
            method,
            f"{self._client.configuration.host}{path}",
            body=None if body is None else json.dumps(body),
            headers=headers,
        )

    def _keep(self, operation: Operation, response: BaseHTTPResponse, took: float, refusals: int) -> bool:
        with self._lock:
            self.tally.seconds.append(took)
            self.tally.throttled += refusals
            if response.status < 300:
                return True
            self.tally.failed += 1
            if len(self.tally.examples) < _EXAMPLES:
                said = _message(response.data)
                self.tally.examples.append(f"{operation.verb} {operation.kind}: {response.status}: {said}")
            return False


def retry_after(header: str | None) -> float:
    """Seconds that the header ``Retry-After`` asks for (RFC 9110, 10.2.3: seconds or a date), within reason."""
    if header is None:
        return _USUAL_PAUSE
    try:
        seconds = (
            float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - time.time()
        )
    except ValueError:
        return _USUAL_PAUSE
    return min(max(0.0, seconds), _LONGEST_PAUSE)


def _pool(client: ApiClient) -> PoolManager:
    """Connections for all threads, without retries of their own: refusals are what the throttle learns from."""
    from urllib3 import PoolManager, Timeout

    it = client.configuration
    return PoolManager(
        num_pools=1,
        maxsize=MOST_AT_ONCE,
        retries=False,
        timeout=Timeout(connect=_CONNECT, read=_READ),
        cert_reqs="CERT_REQUIRED" if it.verify_ssl else "CERT_NONE",
        ca_certs=it.ssl_ca_cert,
        cert_file=it.cert_file,
        key_file=it.key_file,
    )


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return body[:200].decode(errors="replace")
