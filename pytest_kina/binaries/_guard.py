"""Runs one command for a builder, and kills it and all its children when the builder dies.

Stand-alone, standard library only: ``python -I -S _guard.py <pid of the builder> <log file> <command> ...``. Whoever
starts it makes it the leader of a process group; the command and its children stay in that group. Standard error goes
to the log file, standard output is passed through, and the exit code is the command's.

The kernel reparents an orphan, so a changed parent is the proof that the builder is gone, also after SIGKILL and also
on macOS, which has no parent-death signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

_LOOK_EVERY = 0.2


def main(builder: str, log: str, *command: str) -> int:
    """Run ``command`` to its end, or kill the whole group once ``builder`` is not our parent any more."""
    with open(log, "ab") as stream:  # noqa: PTH123  pathlib is not worth its import here
        child = subprocess.Popen(command, stderr=stream, stdin=subprocess.DEVNULL)
    while True:
        try:
            return child.wait(timeout=_LOOK_EVERY)
        except subprocess.TimeoutExpired:
            if os.getppid() != int(builder):
                os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
