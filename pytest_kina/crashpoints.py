"""Named places where a test may let this process die, stop or fail; all of them are listed in :data:`POINTS`.

``KINA_CRASH="record.DIRTY.after:exit"`` names a point and an effect; several are separated by commas, and ``@3`` after
the name means the third time that this process gets there. Effects: ``exit`` (as if killed), ``raise``, ``stop``
(SIGSTOP to this process), ``enospc`` (the disk is full), ``sleep`` (one second). Points come in pairs, ``.before`` and
``.after``. Without the variable a point costs one look into the environment. Standard library only:
the supervisor, a stand-alone script, has points, too.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

ENVIRONMENT = "KINA_CRASH"

POINTS: Mapping[str, tuple[str, ...]] = {
    "pool": (
        "record.DOOMED",
        "record.DIRTY",
        "record.READY",
        "record.SHARED",
        "record.QUARANTINED",
        "record.remove",
        "lock.slot",
        "lock.process",
        "lock.build",
        "lock.start",
        "unlock.slot",
        "unlock.process",
        "unlock.build",
        "directory.make",
        "directory.remove",
        "description",
        "create",
        "check",
        "reset",
        "delete",
        "adopt",
    ),
    "files": ("file.write", "file.move"),
    "binaries": (
        "download",
        "unpack",
        "build.module",
        "build.compile",
        "build.aliases",
        "publish.complete",
        "publish.replace",
        "publish.move",
        "store.remove",
    ),
    "templates": ("template.snapshot", "template.restore", "template.publish", "template.remove"),
    "supervisor": (
        "supervisor.introduce",
        "supervisor.reserve",
        "supervisor.spawn",
        "supervisor.adopt",
        "supervisor.helper",
        "supervisor.report",
        "supervisor.kill",
    ),
}
"""The steps with points around them, by the part of the plugin that takes them."""

_reached: Counter[str] = Counter()


@contextmanager
def around(step: str) -> Iterator[None]:
    """The points ``<step>.before`` and ``<step>.after``; the latter only when the block succeeded."""
    reach(f"{step}.before")
    yield
    reach(f"{step}.after")


def reach(point: str) -> None:
    """Do nothing, unless the environment gives this point an effect."""
    orders = os.environ.get(ENVIRONMENT)
    if not orders:
        return
    _reached[point] += 1
    for order in orders.split(","):
        named, _, effect = order.partition(":")
        name, _, time_of = named.partition("@")
        if name == point and time_of in ("", str(_reached[point])):
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
