"""Who used which slot from when to when: what many processes wrote down, checked after they have all ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Use(NamedTuple):
    """One use of a cluster by a process. Times are seconds of the machine's monotonic clock, the same in all processes."""

    pid: int
    isolation: str
    slot: int
    cluster: str
    asked: float
    begun: float
    ended: float


def read_histories(out: Path) -> list[Use]:
    """All uses in ``<out>/*.history``; the last line of a killed process may be torn, and is none."""
    return [use for path in sorted(out.glob("*.history")) for use in _uses(path)]


def _uses(path: Path) -> Iterable[Use]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Use(*json.loads(line))
        except (ValueError, TypeError):
            continue


def overlaps(uses: Iterable[Use]) -> list[tuple[Use, Use]]:
    """Pairs of uses of one slot at one time, of which at least one should have been alone."""
    found = []
    latest: dict[int, list[Use]] = {}
    for use in sorted(uses, key=lambda each: each.begun):
        still = [other for other in latest.get(use.slot, []) if other.ended > use.begun]
        found += [(other, use) for other in still if {other.isolation, use.isolation} != {"namespace"}]
        latest[use.slot] = [*still, use]
    return found
