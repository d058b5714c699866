"""Lets processes die, stop or fail at named points: ``python -m tests.support.crashes <story> <directory> <order> …``.

An order is ``<point>:<effect>``. Each gets a root of its own, ``<directory>/<point>-<effect>``, and a process that lives
through the story with it. A process that stops itself is continued as soon as it is seen. Prints what became of each as JSON:
the exit code of the storyteller, and how many processes were seen stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_kina import crashpoints
from pytest_kina.testing import use_backend
from tests.support.binary_story import download_and_build
from tests.support.etcd_story import live_with_etcd
from tests.support.pool_kit import Kit
from tests.support.template_story import keep_templates
from tests.support.universal import every_process

EFFECTS = ("exit", "stop", "raise", "enospc")
REACHED = 42
"""The exit code of a story that went on after its point was reached."""

_AT_ONCE = 4
_PATIENCE = 90.0


def live(root: Path) -> None:
    """Make, use, release, reset, share, leave, announce, delete, and fail to delete clusters; go on after each error."""
    from pytest_kina.pool import tidying

    tidying._RETIRE = 0.5  # seconds that the end of a run waits, four times, where the process could not unlock
    try:
        kit = Kit(root, ttl=60.0, lease_timeout=1.0)
    except Exception:  # of a root that could not be opened nothing may be left that keeps it from being opened
        kit = Kit(root, ttl=60.0, lease_timeout=1.0)
    for isolation in ("exclusive", "exclusive", "namespace"):
        with suppress(Exception):
            lease = kit.lease(isolation)
            use_backend(lease.directory, "a test")
            lease.release()
    with suppress(Exception):
        kit.pool.close()
    with suppress(Exception):
        lease = kit.lease()
        lease.release()
        kit.pool.close()
        tidying.advise(kit.pool._actor, lease.number, lease.name)
        kit.lease().release()
    with suppress(Exception):
        kit.pool.retire()
    _fail_to_delete(kit, root)
    with suppress(Exception):
        kit.pool.close()


def _fail_to_delete(kit: Kit, root: Path) -> None:
    orders = root / "fake.json"
    orders.write_text('{"failures": {"delete": "it does not want to go"}}', encoding="utf-8")
    os.environ["KINA_FAKE"] = str(orders)
    with suppress(Exception):
        kit.lease(version="1.35").release()
    for _ in range(3):
        with suppress(Exception):
            kit.pool.retire()
    del os.environ["KINA_FAKE"]
    for left in (orders, root / "fake.json.calls"):
        left.unlink(missing_ok=True)


STORIES: Mapping[str, Callable[[Path], None]] = {
    "pool": live,
    "etcd": live_with_etcd,
    "binaries": download_and_build,
    "templates": keep_templates,
}


@dataclass(slots=True)
class Child:
    """A storyteller, and how it goes."""

    order: str
    root: Path
    pid: int
    code: int | None = None
    stopped: int = 0


def start(story: str, directory: Path, order: str) -> Child:
    """Fork a storyteller in a session of its own."""
    root = directory / order.replace(":", "-")
    pid = os.fork()
    if pid:
        return Child(order, root, pid)
    try:
        os.setsid()
        point, _, effect = order.partition(":")
        # Of the supervisors each one gets there for the first time.
        os.environ[crashpoints.ENVIRONMENT] = order if point.startswith("supervisor") else f"{point}@1:{effect}"
        os.environ["KINA_STORY"] = str(root)
        STORIES[story](root)
    except BaseException as error:
        sys.stderr.write(f"{order}: {error!r}\n")
        os._exit(1)
    os._exit(REACHED if crashpoints._reached[point] else 0)


def look_after(children: list[Child]) -> None:
    """Take the exit codes of those who have ended, and continue those who have stopped."""
    for child in children:
        if child.code is None:
            pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                child.stopped += 1
                os.kill(pid, signal.SIGCONT)
            elif pid:
                child.code = os.waitstatus_to_exitcode(status)


def look_after_supervisors(children: list[Child]) -> None:
    """Continue the supervisors that have stopped, and what they have started."""
    for child in children:
        child.stopped += go_on_below(child.root, but=child.pid)


def go_on_below(root: Path, but: int = 0) -> int:
    """Continue every process of a root that has stopped, except for one pid; returns how many there were."""
    mark = os.fsencode(root) + b"\0"
    mine = (
        pid for pid, line, environ in every_process() if f"{root}/" in line or f"{root} " in line or mark in environ
    )
    return sum(_continue(pid) for pid in mine if pid != but)


def _continue(pid: int) -> bool:
    try:
        stopped = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
        if stopped:
            os.kill(pid, signal.SIGCONT)
    except OSError:
        return False
    return stopped


def main(story: str, directory: Path, orders: list[str]) -> dict[str, tuple[int | None, int]]:
    """One child per order, some at a time."""
    waiting, children = list(orders), []
    if story == "pool":  # not the children: each would pay for the imports again
        Kit(directory / "warm").lease().release()
    deadline = time.monotonic() + _PATIENCE + len(orders)
    while waiting or any(child.code is None for child in children):
        if waiting and sum(child.code is None for child in children) < _AT_ONCE:
            children.append(start(story, directory, waiting.pop(0)))
        busy = [child for child in children if child.code is None]
        look_after(busy)
        assert time.monotonic() < deadline, busy
        if story == "etcd":
            look_after_supervisors(busy)
            time.sleep(0.05)
        time.sleep(0.005)
    return {child.order: (child.code, child.stopped) for child in children}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])))
