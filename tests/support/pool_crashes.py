"""Lets one process die at each named point: ``python -m tests.support.pool_crashes <directory> <point> …``.

Every point gets a root of its own, ``<directory>/<point>``, and a process that leads through the whole life of clusters.
Prints the exit codes as JSON; 137 means that the point was reached.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pytest_kina.pool.tidying import advise
from pytest_kina.testing import use_backend
from tests.support.pool_kit import Kit

STATES = ("DOOMED", "DIRTY", "READY", "SHARED")
ACTS = (
    *(f"record.{state}" for state in STATES),
    *("record.remove", "directory.make", "directory.remove", "description"),
    *("lock.slot", "lock.process", "lock.build", "unlock.slot", "unlock.process", "unlock.build"),
    *("create", "check", "reset", "delete", "adopt"),
)
POINTS = [f"{act}.{moment}" for act in ACTS for moment in ("before", "after")]


def live(root: Path) -> None:
    """Make, use, release, reset, share, leave, announce and delete clusters."""
    kit = Kit(root, ttl=60.0)
    for isolation in ("exclusive", "exclusive", "namespace"):
        lease = kit.lease(isolation)
        use_backend(lease.directory, "a test")
        lease.release()
    kit.pool.close()
    lease = kit.lease()
    lease.release()
    kit.pool.close()
    advise(kit.pool._actor, lease.number, lease.name)
    kit.lease().release()
    kit.pool.retire()
    kit.pool.close()


def main(directory: Path, points: list[str]) -> None:
    """One child per point, one after the other."""
    # Not the children: each would pay for it again.
    Kit(directory / "warm").lease().release()
    codes = {}
    for point in points:
        child = os.fork()
        if child == 0:
            os.environ["KINA_CRASH"] = f"{point}:exit"
            live(directory / point)
            os._exit(0)
        codes[point] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
