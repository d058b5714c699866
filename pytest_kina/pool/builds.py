"""Doing something once per run: electing who does it, and remembering that it failed.

Two things are done by one process for all of a run: preparing a spec (binaries), and making a shared cluster. The
*circuit breaker* is the file beside the lock: after one failure nobody of the run tries again, and everybody else fails
at once with the same cause. Attempts are counted before they begin, so one that kills its process is counted, too;
such a death is no verdict on the spec, so it takes two of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_kina import crashpoints, errors
from pytest_kina.errors import KinaError, ProvisionError
from pytest_kina.files import peek_json, write_json
from pytest_kina.pool.locks import drop_file, try_lock, wait_for_lock
from pytest_kina.waiting import Deadline

if TYPE_CHECKING:
    from filelock import BaseFileLock

_Result = TypeVar("_Result")

DEATHS = 2
"""How many processes of a run may die in the same attempt before nobody tries it any more."""

_SCHEMA = 1
_PATIENCE = 2.0  # seconds; only bookkeeping happens under the lock that is waited for
_LOOK_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class Build:
    """One thing that a run does once: the lock's name, and the count beside it."""

    directory: Path
    key: str

    @property
    def lock_path(self) -> Path:
        """The build lock."""
        return self.directory / f"{self.key}.lock"

    @property
    def count_path(self) -> Path:
        """How many attempts began without success, and the error of the one that failed."""
        return self.directory / f"{self.key}.json"

    def elect(self) -> BaseFileLock | None:
        """The build lock, held, or None while another process of the run builds."""
        with crashpoints.around("lock.build"):
            return try_lock(self.lock_path)

    def give_up(self, lock: BaseFileLock) -> None:
        """End the election: SHARED is written, or nothing came of it."""
        with crashpoints.around("unlock.build"):
            drop_file(lock, self.lock_path)

    @property
    def hopeless(self) -> bool:
        """Whether this run does not try any more."""
        count = self._read()
        return bool(count["error"]) or int(count["attempts"]) >= DEATHS

    def refuse_hopeless(self) -> None:
        """Raise the error that this run met before, of the same kind, when it does not try any more."""
        if not self.hopeless:
            return
        count = self._read()
        cause = count["error"] or f"{count['attempts']} processes of this run died while they tried"
        raise _kind(count["kind"])(
            f"not tried again, because it has failed in this run: {cause}",
            next_step=count["next_step"] or "correct the cause and start a new run",
            cluster="",
        )

    def begin(self) -> None:
        """Count an attempt; call it with the build lock held."""
        count = self._read()
        self._write(count | {"attempts": count["attempts"] + 1})

    def succeeded(self) -> None:
        """Forget the deaths of those who tried before."""
        self.count_path.unlink(missing_ok=True)

    def failed(self, error: KinaError) -> None:
        """Open the circuit breaker: keep the first error of this run."""
        count = self._read()
        if not count["error"]:
            new = {"error": error.message, "kind": type(error).__name__, "next_step": error.next_step or ""}
            self._write(count | new)

    def failed_alone(self, error: KinaError) -> None:
        """Open it for somebody who needs no election (an exclusive cluster)."""
        lock = wait_for_lock(self.lock_path, _PATIENCE)
        if lock is None:
            return
        self.failed(error)
        self.give_up(lock)

    def once(self, work: Callable[[], _Result], patience: float) -> _Result:
        """Do ``work`` while no other process of the run does; raise what it raised there, if it failed there.

        Waits ``patience`` seconds for the others, and works all the same then: who holds the lock may be stopped.
        """
        deadline, lock = Deadline(patience), self.elect()
        while lock is None and not deadline.expired:
            time.sleep(_LOOK_AGAIN)
            lock = self.elect()
        try:
            self.refuse_hopeless()
            return self._counted(work)
        finally:
            if lock is not None:
                self.give_up(lock)

    def _counted(self, work: Callable[[], _Result]) -> _Result:
        self.begin()
        try:
            result = work()
        except KinaError as error:
            self.failed(error)
            raise
        self.succeeded()
        return result

    def _read(self) -> dict[str, Any]:
        document = peek_json(self.count_path, _SCHEMA) or {}
        texts = {name: str(document.get(name, "")) for name in ("error", "kind", "next_step")}
        return {"attempts": int(document.get("attempts", 0)), **texts}

    def _write(self, count: dict[str, Any]) -> None:
        with suppress(OSError):  # bookkeeping: a full disk shows itself at the record, with the next step
            write_json(self.count_path, _SCHEMA, count)


def _kind(name: str) -> type[KinaError]:
    kind = getattr(errors, name, None) if name in errors.__all__ else None
    return kind if isinstance(kind, type) else ProvisionError
