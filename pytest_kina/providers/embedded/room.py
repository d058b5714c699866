"""Memory for one more cluster: without it the kernel would kill processes, of this cluster or of others."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_kina import memory
from pytest_kina.errors import ProvisionError
from pytest_kina.waiting import Deadline, wait_until

_MIB = 2**20

NEEDED: Mapping[str, int] = {"api": 350 * _MIB, "workloads": 500 * _MIB}
"""Bytes that an idle cluster of a profile takes: below that none can be started (proportional set size, measured)."""

_PATIENCE = 10.0
_LOOK_AGAIN = 0.2


def await_memory(cluster: str, profile: str, timeout: float) -> None:
    """Return when there is memory for a cluster: others that are ending need a moment to give theirs back.

    Waits for ``timeout`` seconds, and 10 s at most. Raises :class:`ProvisionError`.
    """
    needed = NEEDED[profile]
    if wait_until(lambda: _left() >= needed, Deadline(min(timeout, _PATIENCE)), interval=_LOOK_AGAIN):
        return
    raise ProvisionError(
        f"cluster {cluster} was not started: {_left() / _MIB:.0f} MiB of memory are available,"
        f" below the {needed / _MIB:.0f} MiB that one of profile {profile!r} needs",
        next_step="end what uses memory (`pytest-kina down` ends idle clusters), lower --kina-pool-size or -n, "
        "or use profile='api', which needs less",
        cluster=cluster,
    )


def _left() -> float:
    found = memory.available()
    return float("inf") if found is None else found + memory.free_swap()
