"""Start permits: how many clusters of this machine may be starting at one moment, over all runs.

Starts keep the processors busy and little else: on two cores four at once end sooner than one after the other, and more
only delay each other. A permit is a held lock on one of ``<root>/starts/<n>.lock``. It is tried, never waited for, so
whoever gets none keeps nothing and asks again, as for a slot.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_kina import crashpoints
from pytest_kina.pool.locks import try_lock

_PER_CORE = 2


class StartsBusy(Exception):
    """As many clusters are starting as this machine bears. ``str()`` says how many."""


def limit() -> int:
    """How many clusters may be starting at once: two per core."""
    return _PER_CORE * (os.cpu_count() or 1)


@contextmanager
def permit(starts: Path) -> Iterator[None]:
    """Hold one of the permits in the directory ``starts``. Raises :class:`StartsBusy`, and StateError."""
    # Not always the first one: who looks at the same moment should not have to lose against all others in turn.
    for number in random.sample(range(limit()), limit()):  # nosec B311
        with crashpoints.around("lock.start"):
            lock = try_lock(starts / f"{number}.lock")
        if lock is not None:
            try:
                yield
            finally:
                lock.release()
            return
    raise StartsBusy(f"{limit()} clusters are starting on this machine")
