"""Further clusters only to measure them: create → ready → delete, one after the other, within a budget of time.

A run whose tests share a cluster has made one, and one sample says little. The cycles go through the same pool and
provider as the tests' clusters, so that what they measure is the same thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kina.errors import KinaError
from pytest_kina.marks import ClusterRequest
from pytest_kina.run import Run
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.timing import TimingEvent
from pytest_kina.waiting import Deadline

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """What was done: how many cycles in how many seconds, and why there were not more (empty: there were enough)."""

    done: int
    seconds: float
    ended: str = ""


def cycle(run: Run, spec: ClusterSpec, count: int, deadline: Deadline, *, fresh: bool) -> Cycles:
    """Make and delete ``count`` clusters of ``spec``; the events are recorded by ``run``'s recorder.

    ``fresh`` clusters start without a template, like the one whose series they lengthen; the others as it comes.

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
            if fresh:
                run.forget_template(spec)
            once(run, spec, holder=f"measuring {done}", note="measuring for the gate")
        except (KinaError, OSError) as error:
            why = str(error).splitlines()[0]
            return Cycles(done=done, seconds=time.monotonic() - began, ended=f"a cluster could not be made: {why}")
        longest, done = max(longest, time.monotonic() - before), done + 1
    return Cycles(done=done, seconds=time.monotonic() - began)


def measure_apart(
    run: Run, specs: Sequence[tuple[ClusterSpec, bool]], count: int, deadline: Deadline
) -> list[TimingEvent]:
    """The events of ``count`` cycles of each spec, measured as a run of its own: they are not part of ``run``'s.

    With each spec: whether its clusters start without a template.
    """
    other = run.twin()
    try:
        for spec, fresh in specs:
            cycle(other, spec, count, deadline, fresh=fresh)
        return other.recorder.drain() if other.recorder else []
    finally:
        other.close()


def once(
    run: Run, spec: ClusterSpec, *, holder: str, note: str, use: Callable[[Cluster], object] | None = None
) -> list[str]:
    """One cluster of ``spec`` made, used and deleted; returns sentences about its deletion.

    What ``run`` has left in the pool goes first. ``holder`` tells requests apart, ``note`` is shown to who waits.
    Raises what leasing and ``use`` raise; the cluster is given back then, and the next call deletes it.
    """
    pool = run.pool()
    pool.retire()
    loan = run.lease(ClusterRequest(clusters=(("", spec),), isolation=Isolation.FRESH, holder=holder), note=note)
    try:
        if use is not None:
            use(loan.main)
    finally:
        loan.give_back()
    return pool.retire()
