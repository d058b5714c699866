"""Named places where a test may let this process die, stop or fail.

``KINA_CRASH="record.DIRTY.after:exit"`` names a point and an effect; several are separated by commas. Effects: ``exit``
(as if killed), ``raise``, ``stop`` (SIGSTOP to this process), ``enospc`` (the disk is full), ``sleep`` (one second).

Points come in pairs, ``.before`` and ``.after``: ``record.<STATE>`` (a record is written), ``record.remove``,
``lock.slot``, ``lock.process``, ``lock.build``, ``unlock.slot``, ``unlock.process``, ``unlock.build``,
``directory.make``, ``directory.remove``, ``description`` (cluster.json), and the provider's ``create``, ``check``,
``reset``, ``delete`` and ``adopt``.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = "KINA_CRASH"


@contextmanager
def around(point: str) -> Iterator[None]:
    """The points ``<point>.before`` and ``<point>.after``; the latter only when the block succeeded."""
    reach(f"{point}.before")
    yield
    reach(f"{point}.after")


def reach(point: str) -> None:
    """Do nothing, unless the environment gives this point an effect."""
    for order in os.environ.get(ENVIRONMENT, "").split(","):
        named, _, effect = order.partition(":")
        if named == point:
            _act(point, effect)


def _act(point: str, effect: str) -> None:
    if effect == "exit":
        os._exit(137)
    elif effect == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif effect == "sleep":
        time.sleep(1.0)
    elif effect == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point)
    else:
        raise RuntimeError(f"crash point {point}: {effect}")
