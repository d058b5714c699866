"""How long the API server took to answer the requests of this process, by cluster; the latest 10 000 of each."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

_KEPT = 10_000
_seen: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))


@contextmanager
def noted(cluster: str) -> Iterator[None]:
    """Note how long the block took, if it got an answer."""
    began = perf_counter()
    yield
    _seen[cluster].append(perf_counter() - began)


def take(cluster: str) -> tuple[float, ...]:
    """The durations in seconds since the last call, oldest first."""
    return tuple(_seen.pop(cluster, ()))
