"""Waiting for descriptors with poll(2): unlike select(2) it takes numbers above 1023, which big test runs reach."""

from __future__ import annotations

import math
import select


def readable(*descriptors: int, seconds: float) -> set[int]:
    """Those of ``descriptors`` that can be read (or are at their end), after at most ``seconds``."""
    return _poll(descriptors, select.POLLIN, seconds)


def writable(descriptor: int, seconds: float) -> bool:
    """Whether ``descriptor`` can be written (or has failed), after at most ``seconds``."""
    return bool(_poll((descriptor,), select.POLLOUT, seconds))


def _poll(descriptors: tuple[int, ...], event: int, seconds: float) -> set[int]:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, event)
    return {descriptor for descriptor, _ in poller.poll(math.ceil(seconds * 1000))}
