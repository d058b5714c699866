"""The stages that kwok of one cluster runs beside its usual ones: a file, and a new start of kwok after each change.

kwok 0.8 reads stages from its configuration at its start, or from a CustomResourceDefinition that it would put into
the user's API. So whatever is simulated is kept in a file of the cluster's directory, which a reset empties. Once the
old kwok has ended nothing acts by the old rules any more, so a change counts from the moment when it returns.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytest_kina import _supervisor
from pytest_kina.errors import StateError
from pytest_kina.files import peek_json, write_atomic, write_json
from pytest_kina.waiting import Deadline, wait_until

STAGES_FILE = "simulated.yaml"
"""In the cluster's directory; one stage per line, as JSON, which is YAML."""

_LOCK_FILE = "simulated.lock"
_PATIENCE = 30.0
"""Seconds that the changes of other processes may take before ours."""
_RESTART = 10.0
"""Seconds until a kwok that was killed must have been started again; usually 20 ms."""
_INTERVAL = 0.005

Stage = Mapping[str, Any]


class Kwok:
    """kwok of the cluster in ``directory``, as any process of its user may change it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / STAGES_FILE

    def add(self, owner: str, stages: Sequence[Stage], common: Sequence[Stage]) -> None:
        """Run ``stages`` until :meth:`remove`, and ``common``, which all simulations share, until the next reset.

        Raises :class:`StateError` when the cluster has ended; the file is as before then.
        """
        named = [_named(stage, f"{owner}-{stage['metadata']['name']}") for stage in stages]
        self._change(lambda before: [*(one for one in before if one not in common), *common, *named])

    def remove(self, owner: str) -> None:
        """Forget the stages of ``owner``; none is success. Raises :class:`StateError`."""
        self._change(lambda before: [one for one in before if not one["metadata"]["name"].startswith(f"{owner}-")])

    def _change(self, change: Callable[[list[Stage]], list[Stage]]) -> None:
        with self._alone():
            try:
                before = self._file.read_bytes()
            except OSError as error:
                raise self._gone(str(error)) from error
            known = [json.loads(line) for line in before.splitlines() if not line.startswith(b"---")]
            changed = change(known)
            if changed == known:
                return
            write_atomic(self._file, b"".join(b"---\n" + json.dumps(stage).encode() + b"\n" for stage in changed))
            try:
                self._restart()
            except BaseException:
                write_atomic(self._file, before)
                raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            with FileLock(self._directory / _LOCK_FILE, timeout=_PATIENCE, fallback_to_soft=False):
                yield
        except Timeout as error:
            raise StateError(
                f"{self._directory / _LOCK_FILE} was held for {_PATIENCE:g} s by others who change simulations",
                next_step="look for a stopped process that uses this cluster",
                path=str(self._directory),
            ) from error

    def _restart(self) -> None:
        token = secrets.token_hex(8)
        write_json(
            self._directory / _supervisor.RESTART_FILE, _supervisor.SCHEMA, {"component": "kwok", "token": token}
        )
        self._wake()
        answer = wait_until(lambda: self._answer(token), Deadline(_RESTART), interval=_INTERVAL)
        if answer is None or answer.get("error"):
            why = answer["error"] if answer else f"its supervisor did not answer within {_RESTART:g} s"
            raise self._gone(f"kwok could not be started again: {why}")

    def _answer(self, token: str) -> dict[str, Any] | None:
        answer = peek_json(self._directory / _supervisor.RESTARTED_FILE, _supervisor.SCHEMA)
        if answer is not None and answer.get("token") == token:
            return answer
        if self._supervisor() is None:
            raise self._gone("its supervisor is not running")
        return None

    def _wake(self) -> None:
        """Make the supervisor look now, not at its next tick. SIGCHLD is ignored by whoever might have its pid."""
        if (pid := self._supervisor()) is not None:
            with suppress(OSError):
                os.kill(pid, signal.SIGCHLD)

    def _supervisor(self) -> int | None:
        """Its pid; None when it has ended, as far as that can be seen (without /proc it counts as alive)."""
        written = peek_json(self._directory / _supervisor.IDENTITY_FILE, _supervisor.SCHEMA) or {}
        pid, start = written.get("pid"), written.get("start_ticks")
        same = written.get("boot_id") == _supervisor.boot_id()
        return pid if isinstance(pid, int) and same and _supervisor.start_ticks(pid) == start else None

    def _gone(self, problem: str) -> StateError:
        return StateError(
            f"what {self._directory.name} simulates cannot be changed: {problem}",
            next_step="take another cluster: this one has been deleted, or has died",
            path=str(self._directory),
        )


def _named(stage: Stage, name: str) -> Stage:
    return {**stage, "metadata": {"name": name}}
