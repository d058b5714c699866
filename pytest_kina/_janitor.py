"""The janitor: ``python -P -m pytest_kina._janitor --root R``, for clusters that have no supervisor.

One process per pool (and schema of its records), which holds ``<root>/janitor.<schema>.lock`` while it works. It does
for these clusters what the idle helper does for those that have a supervisor: reset them in the background, delete them
when their time is over. It ends when there are none; whoever announces a cluster starts it again
(:mod:`pytest_kina.pool.janitor`).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_kina._tidy import actor_of
from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.pool import Root, open_root, records
from pytest_kina.pool.janitor import lock_of, log_of
from pytest_kina.pool.locks import is_held, try_lock
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.tidying import advise
from pytest_kina.providers import find

_POLL = 1.0  # seconds between two looks at records and lock files, which take a millisecond


@dataclass(frozen=True, slots=True)
class _Plan:
    """When to look at a slot again: at ``due`` (monotonic clock), when ``watch`` are free, or its record changed."""

    seen: tuple[int, int] | None
    due: float | None
    watch: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Detach, then work until there is nothing left to do. Raises :class:`~pytest_kina.errors.StateError`."""
    parser = argparse.ArgumentParser(prog="pytest_kina._janitor", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    root = open_root(parser.parse_args(arguments).root)
    if os.fork():  # whoever started us waits only until here
        os._exit(0)
    _detach(log_of(root))
    work(root)
    return 0


def work(root: Root) -> None:
    """Be the janitor, unless there is one; return when no cluster needs one."""
    while root.path.is_dir() and (lock := try_lock(lock_of(root))) is not None:
        try:
            _serve(root)
        finally:
            lock.release()
        # Who announced a cluster since the last look has seen our lock held, and relies on us.
        if not _charges(root):
            return


def _detach(log: Path) -> None:
    os.setsid()
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    for descriptor, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(descriptor, target)


def _serve(root: Root) -> None:
    plans: dict[int, _Plan] = {}
    while charges := _charges(root):
        for number, record in charges.items():
            if _is_due(root, number, plans.get(number)):
                plans[number] = _attend(root, number, record.cluster)
        time.sleep(_POLL)


def _charges(root: Root) -> dict[int, Record]:
    """The slots whose clusters have nobody else to look after them, with their records as they look without a lock."""
    return {number: record for number, record in records.survey(root.slots).items() if _is_ours(record)}


def _is_ours(record: Record) -> bool:
    if record.state is State.QUARANTINED or not record.provider:
        return False
    with suppress(ProviderUnavailableError):
        return not find(record.provider).info.supervised
    return False


def _is_due(root: Root, number: int, plan: _Plan | None) -> bool:
    if plan is None or plan.seen != _identity(root, number):
        return True
    if plan.due is not None and time.monotonic() >= plan.due:
        return True
    return bool(plan.watch) and not any(is_held(Path(path)) for path in plan.watch)


def _attend(root: Root, number: int, cluster: str) -> _Plan:
    advice = advise(actor_of(root, number), number, cluster)
    due = None if advice.wake_after is None else time.monotonic() + advice.wake_after
    return _Plan(_identity(root, number), due, advice.watch)


def _identity(root: Root, number: int) -> tuple[int, int] | None:
    try:
        found = records.record_path(root.slots, number).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


if __name__ == "__main__":
    raise SystemExit(main())
