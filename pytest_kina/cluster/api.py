"""The way to the API server: one request or one watch, answered with plain JSON types or one of our errors.

Requests go through ``DynamicClient.request``, the one call that means the same in all releases of the official client
from 29 on; its generated typed models are never loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster.refusals import Call, refused, unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from urllib3 import HTTPResponse

CONNECT_TIMEOUT = 5.0
"""Seconds until a server that does not take the connection counts as dead."""
READ_TIMEOUT = 60.0
"""Seconds that an ordinary answer may take; the API server itself gives up after as many."""
HASTY_TIMEOUT = 5.0
"""Seconds for what only explains a failure: whose cause may be a server that hangs."""

Query = Sequence[tuple[str, str]]


class Api:
    """Requests to one API server as one user."""

    def __init__(self, client: ApiClient, *, cluster: str, user: str) -> None:
        from kubernetes.dynamic import DynamicClient

        self._http = DynamicClient(client, discoverer=_no_discovery)  # type: ignore[no-untyped-call]
        self._cluster = cluster
        self._user = user

    def call(self, verb: str, subject: str, namespace: str | None = None) -> Call:
        """What is about to be asked, for the message if it is refused."""
        return Call(verb=verb, subject=subject, namespace=namespace, user=self._user, cluster=self._cluster)

    def request(
        self,
        method: str,
        path: str,
        call: Call,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float = READ_TIMEOUT,
    ) -> Any:
        """The answer to one request: JSON types, or text where the server sent something else.

        ``timeout`` is in seconds, for the answer once there is a connection.
        Raises :class:`~pytest_kina.errors.ApiError` or one of its kinds.
        """
        response = self._send(method, path, call, query, body, content_type, accept, timeout)
        text = response.data.decode(errors="replace")
        return json.loads(text) if "json" in response.headers.get("Content-Type", "") else text

    def watch(self, path: str, call: Call, *, query: Query, timeout: float) -> Iterator[Mapping[str, Any]]:
        """The events of one watch (``{"type", "object"}``) until the server or ``timeout`` (seconds) ends it.

        Raises :class:`~pytest_kina.errors.ApiError` when it cannot begin or the connection breaks.
        """
        from urllib3.exceptions import HTTPError

        seconds = max(1, int(timeout) + 1)
        asked = [*query, ("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(seconds))]
        response = self._send("GET", path, call, asked, None, "application/json", "application/json", timeout)
        try:
            for line in _lines(response):
                yield json.loads(line)
        except HTTPError as error:
            raise unreachable(call, error) from error
        finally:
            response.close()
            response.release_conn()

    def _send(
        self, method: str, path: str, call: Call, query: Query, body: Any, content: str, accept: str, read: float
    ) -> HTTPResponse:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._http.request(  # type: ignore[no-any-return]
                method,
                path,
                body=body,
                serialize=False,
                query_params=list(query),
                header_params={"Accept": accept},
                content_type=content,
                _request_timeout=(CONNECT_TIMEOUT, read),
            )
        except ApiException as error:
            if not error.status:
                raise unreachable(call, error) from error
            raise refused(call, error.status, error.reason or "", error.body) from error
        except HTTPError as error:
            raise unreachable(call, error) from error


def _no_discovery(_client: Any, _cache_file: str | None) -> None:
    """A discoverer that asks nothing: paths come from our own discovery, which needs two requests, not forty."""


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
