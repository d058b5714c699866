"""The condition of clusters as a command shows it: health, age, memory, disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.metrics.probing import processes
from pytest_kina.metrics.usage import Usage, disk_bytes
from pytest_kina.pool import Root, SlotStatus
from pytest_kina.pool.actor import made_by_another, newer_description, place_of
from pytest_kina.pool.records import State
from pytest_kina.providers import Provider, find
from pytest_kina.spec import ClusterDescription

_AT_ONCE = 8
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One cluster at one moment.

    ``healthy`` is None when nobody asked or could ask; ``why`` then, and when it is dead, says why. ``ours`` is False
    when nobody here may judge the cluster. ``age`` is in seconds, ``usage`` what its local processes take up, ``disk``
    bytes.
    """

    healthy: bool | None = None
    why: str = ""
    ours: bool = True
    age: float = 0.0
    usage: Usage = field(default_factory=Usage)
    disk: int = 0

    @property
    def memory(self) -> int:
        """Bytes: proportional set size (proc(5), ``smaps_rollup``), where the system does not tell the resident one."""
        return self.usage.rss if self.usage.pss is None else self.usage.pss

    def word(self) -> str:
        """``ok``, ``DEAD``, or ``?``."""
        return {True: "ok", False: "DEAD", None: "?"}[self.healthy]

    def to_json(self) -> dict[str, Any]:
        """The condition as plain JSON types."""
        return {
            "healthy": self.healthy,
            "health_problem": self.why,
            "age_seconds": self.age,
            "memory_bytes": self.memory,
            "disk_bytes": self.disk,
        }


def conditions(root: Root, slots: Sequence[SlotStatus], options: Mapping[str, object]) -> dict[int, Condition]:
    """The condition of every cluster, by slot. Asks several at once: one that hangs takes two seconds."""
    provider = cache(lambda name: find(name, options))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(partial(_condition, root, provider), (slot for slot in slots if slot.cluster))
        return dict(found)


def mebibytes(number: int) -> str:
    """``412 MiB``."""
    return f"{number / _MIB:.0f} MiB"


def _condition(root: Root, provider: Any, slot: SlotStatus) -> tuple[int, Condition]:
    directory = root.clusters / slot.cluster
    age = 0.0
    with suppress(OSError):  # it is written once, before the cluster is made
        age = max(0.0, time.time() - (directory / ClusterDescription.FILE).stat().st_mtime)
    takes = Condition(age=age, usage=processes(directory), disk=disk_bytes(directory))
    return slot.slot, replace(takes, **_health(root, provider, slot))


def _health(root: Root, provider: Any, slot: SlotStatus) -> dict[str, Any]:
    in_work = slot.held and slot.note.doing not in ("using", "idle")
    # DOOMED is a cluster half made, half deleted, or (held and in use) a fresh one.
    if in_work or (slot.state == State.DOOMED and not (slot.held and slot.note.doing == "using")):
        return {}
    directory = root.clusters / slot.cluster
    try:
        maker: Provider = provider(slot.provider)
    except ProviderUnavailableError as error:
        return {"ours": False, "why": error.message}
    if newer := newer_description(directory):
        return {"ours": False, "why": newer}
    if other := made_by_another(directory, maker):
        return {"why": f"version {other} of {maker.info.name} made it, this is {maker.info.version}"}
    try:
        why = maker.check(place_of(root, slot.slot, slot.cluster))
    except Exception as error:  # as in the pool: a check that cannot say "healthy" means that the cluster is not
        why = f"the health check failed: {error}"
    return {"healthy": why is None, "why": why or ""}
