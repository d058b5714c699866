"""Seeing to it that somebody looks after clusters without a supervisor when no test run does."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from pytest_kina.errors import CommandError, StateError
from pytest_kina.pool import records
from pytest_kina.pool.locks import is_held
from pytest_kina.pool.root import Root
from pytest_kina.process import environment, run_command

_log = logging.getLogger(__name__)
_TIMEOUT = 30.0  # seconds until the janitor must have detached itself


def lock_of(root: Root) -> Path:
    """The lock that the janitor of the pool holds while it works.

    One for each schema of records: the janitor of an older version could not read ours, and would not look after them.
    """
    return root.path / f"janitor.{records.SCHEMA}.lock"


def log_of(root: Root) -> Path:
    """What the latest janitor complained about."""
    return root.path / "janitor.log"


def ensure(root: Root) -> None:
    """Start the janitor unless one is at work; call it after the cluster is in a record.

    Without one the next run, or ``pytest-kina reap``, does its work, so a failure is logged and no more.
    """
    try:
        if not is_held(lock_of(root)):
            argv = [sys.executable, "-P", "-m", "pytest_kina._janitor", "--root", str(root.path)]
            run_command(argv, timeout=_TIMEOUT, env=environment(also=("PYTHONPATH",)), cwd=Path("/"))
    except (CommandError, StateError) as error:
        _log.warning("no janitor could be started for %s: %s", root.path, error)
