"""Make clusters READY ahead of the tests that need them: ``python -m pytest_kina._warm ORDER``.

A process of a run starts it and forgets it (:mod:`pytest_kina.spares`). One at a time works for a run and a kind of
cluster. Shared ones are made under the run's build lock, so that tests which ask meanwhile wait for this one, and do
not make another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pytest_kina.errors import KinaError
from pytest_kina.metrics.memory import recorded
from pytest_kina.pool import Want, open_root
from pytest_kina.pool.actor import Actor
from pytest_kina.pool.builds import Build
from pytest_kina.pool.locks import ProcessLock
from pytest_kina.pool.warming import RESERVE, memory_suffices, ready, warm
from pytest_kina.report.runs import IDLE
from pytest_kina.spares import Order
from pytest_kina.timing import TimingRecorder


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill one order as far as slots and memory go; 1 when a cluster could not be made. Raises StateError."""
    (text,) = sys.argv[1:] if arguments is None else arguments
    order = Order.from_text(text)
    limits, want = order.limits, order.want
    root, worker = open_root(Path(limits.root)), f"{IDLE}spare-{os.getpid()}"
    recorder = TimingRecorder(run=limits.run, worker=worker, spool=root.runs / limits.run / f"{worker}.jsonl")
    process = ProcessLock(root.processes, limits.run)
    process.take()  # the run is not over before its spares stand, so nobody deletes them as leftovers of a dead one
    try:
        actor = Actor(
            root=root,
            run=limits.run,
            worker=worker,
            size=limits.size,
            ttl=limits.ttl,
            start_timeout=limits.start_timeout,
            recorder=recorder,
            providers={want.provider_name: want.provider},
        )
        return _fill(actor, want, order.count)
    finally:
        process.drop()


def _fill(actor: Actor, want: Want, count: int) -> int:
    build = Build(actor.root.builds, f"{actor.run}.{want.fingerprint}" + ("" if want.shared else "-spare"))
    if (lock := build.elect()) is None:
        return 0
    needed = recorded(actor.root.runs, want.provider.info.name, want.spec) or RESERVE
    try:
        while ready(actor, want) < count and memory_suffices(needed) and warm(actor, want, another=True):
            pass
    except KinaError as error:  # who needs the cluster meets it again, in his own test
        with suppress(OSError):
            sys.stderr.write(f"{error}\n")
        return 1
    finally:
        build.give_up(lock)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
