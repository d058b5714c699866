"""Acting on the pool from a command, with the same locks and records as a test run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pytest_kina.pool import Root, default_size, open_root
from pytest_kina.pool.actor import Actor
from pytest_kina.providers import Provider
from pytest_kina.report.runs import COMMAND
from pytest_kina.settings import Settings
from pytest_kina.timing import TimingRecorder


def size_of(settings: Settings) -> int:
    """How many clusters may exist on this machine."""
    return settings.pool_size or default_size()


def opened(settings: Settings) -> Root | None:
    """The root directory, or None when there is none yet: looking makes nothing. Raises StateError."""
    return open_root(settings.root) if settings.root.exists() else None


@contextmanager
def acting(settings: Settings, root: Root, providers: dict[str, Provider] | None = None) -> Iterator[Actor]:
    """An actor whose timings the next test run shows, like those of an idle helper."""
    run = secrets.token_hex(8)
    directory = root.runs / run
    directory.mkdir(mode=0o700)
    try:
        yield Actor(
            root=root,
            run=run,
            worker="pytest-kina",
            size=size_of(settings),
            ttl=settings.ttl,
            start_timeout=settings.start_timeout,
            recorder=TimingRecorder(run=run, worker=COMMAND, spool=directory / f"{COMMAND}.jsonl"),
            providers=providers or {},
        )
    finally:
        with suppress(OSError):  # it stays when something was measured
            directory.rmdir()
