"""How long the API server took to answer the requests of this process, by cluster; the latest 10 000 of each.

All clients of the official library end in ``RESTClientObject.request``: our handles, ``kina_client``, typed models and
the dynamic client. So this is the one place where requests are timed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_KEPT = 10_000
_seen: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))


def timed(client: ApiClient, cluster: str) -> ApiClient:
    """``client``, from now on with a note of how long each answer took to begin, refusals included.

    Watches, followed logs and what gets no answer are not noted: how long these take is not up to the server.
    """
    from kubernetes.client.exceptions import ApiException

    transport: Any = client.rest_client  # not annotated, and its method is replaced
    send = transport.request

    def request(method: str, url: str, *arguments: Any, **options: Any) -> Any:
        began = perf_counter()
        try:
            answer = send(method, url, *arguments, **options)
        except ApiException as refusal:
            if refusal.status:
                _seen[cluster].append(perf_counter() - began)
            raise
        if not _streams(url, options.get("query_params")):
            _seen[cluster].append(perf_counter() - began)
        return answer

    transport.request = request
    return client


def take(cluster: str) -> tuple[float, ...]:
    """The durations in seconds since the last call, oldest first."""
    return tuple(_seen.pop(cluster, ()))


def _streams(url: str, query: Any) -> bool:
    """Whether this is a watch or a followed log: later releases have the query in the URL, earlier ones beside it."""
    asked = parse_qsl(urlsplit(url).query) + list(dict(query or ()).items())
    return any(name in ("watch", "follow") and str(value).lower() == "true" for name, value in asked)
