"""Further clusters only to measure them: create → ready → delete, one after the other, within a budget of time.

A run whose tests share a cluster has made one, and one sample says little. The cycles go through the same pool and
provider as the tests' clusters, so that what they measure is the same thing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kina.errors import KinaError
from pytest_kina.marks import ClusterRequest
from pytest_kina.run import Run
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.timing import TimingEvent
from pytest_kina.waiting import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """What was done: how many cycles in how many seconds, and why there were not more (empty: there were enough)."""

    done: int
    seconds: float
    ended: str = ""


def cycle(run: Run, spec: ClusterSpec, count: int, deadline: Deadline) -> Cycles:
    """Make and delete ``count`` clusters of ``spec``; the events are recorded by ``run``'s recorder.

    Deletes whatever else ``run`` has left in the pool first, for a cluster that lies about counts as one in use. None
    is begun that would, taking as long as the longest one so far, end after ``deadline``. Ends at the first error.
    """
    began = time.monotonic()
    longest, done = 0.0, 0
    while done < count:
        if deadline.remaining <= longest or deadline.expired:
            return Cycles(done=done, seconds=time.monotonic() - began, ended="the time for measuring was up")
        before = time.monotonic()
        try:
            _once(run, spec, done)
        except (KinaError, OSError) as error:
            why = str(error).splitlines()[0]
            return Cycles(done=done, seconds=time.monotonic() - began, ended=f"a cluster could not be made: {why}")
        longest, done = max(longest, time.monotonic() - before), done + 1
    return Cycles(done=done, seconds=time.monotonic() - began)


def measure_apart(run: Run, specs: Sequence[ClusterSpec], count: int, deadline: Deadline) -> list[TimingEvent]:
    """The events of ``count`` cycles of each spec, measured as a run of its own: they are not part of ``run``'s."""
    other = run.twin()
    try:
        for spec in specs:
            cycle(other, spec, count, deadline)
        return other.recorder.drain() if other.recorder else []
    finally:
        other.close()


def _once(run: Run, spec: ClusterSpec, number: int) -> None:
    pool = run.pool()
    pool.retire()
    request = ClusterRequest(clusters=(("", spec),), isolation=Isolation.FRESH, holder=f"measuring {number}")
    run.lease(request, note="measuring for the gate").give_back()
    pool.retire()
