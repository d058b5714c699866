"""Electing who makes a shared cluster, and remembering builds that failed.

The build lock of a run and a fingerprint is held from before the records are scanned until SHARED is written, so a
run never makes two shared clusters of a kind. Failures are counted before each build, so that a build that kills its
process is counted too; after two, everybody else fails at once with the first error.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.errors import ProvisionError
from pytest_kina.files import peek_json, write_json
from pytest_kina.pool import crashpoints
from pytest_kina.pool.locks import drop_file, try_lock, wait_for_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

ATTEMPTS = 2
_SCHEMA = 1
_PATIENCE = 2.0  # seconds; only bookkeeping happens under the lock that is waited for


@dataclass(frozen=True, slots=True)
class Build:
    """One kind of cluster in one run: the build lock's name, and the count beside it."""

    directory: Path
    key: str

    @property
    def lock_path(self) -> Path:
        """The build lock."""
        return self.directory / f"{self.key}.lock"

    @property
    def count_path(self) -> Path:
        """How many builds began without success, and the first error."""
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
        """Whether this run has tried often enough."""
        return int(self._read()["attempts"]) >= ATTEMPTS

    def refuse_hopeless(self) -> None:
        """Raise :class:`ProvisionError` with the first error when this run has tried often enough."""
        count = self._read()
        if count["attempts"] < ATTEMPTS:
            return
        first = count["error"] or "the process that made it died"
        raise ProvisionError(
            f"this run has failed {count['attempts']} times to make such a cluster, and does not try again; "
            f"the first time: {first}",
            next_step="correct the cause and start a new run",
            cluster="",
        )

    def begin(self) -> None:
        """Count an attempt; call it with the build lock held."""
        count = self._read()
        self._write(count | {"attempts": count["attempts"] + 1})

    def succeeded(self) -> None:
        """Forget the failures."""
        self.count_path.unlink(missing_ok=True)

    def failed(self, error: str) -> None:
        """Keep the first error of an attempt that was counted by :meth:`begin`."""
        count = self._read()
        self._write(count | {"error": count["error"] or error})

    def failed_alone(self, error: str) -> None:
        """Count a failed attempt of somebody who needs no election (an exclusive cluster)."""
        lock = wait_for_lock(self.lock_path, _PATIENCE)
        if lock is None:
            return
        self.begin()
        self.failed(error)
        self.give_up(lock)

    def _read(self) -> dict[str, Any]:
        document = peek_json(self.count_path, _SCHEMA) or {}
        return {"attempts": int(document.get("attempts", 0)), "error": str(document.get("error", ""))}

    def _write(self, count: dict[str, Any]) -> None:
        with suppress(OSError):  # bookkeeping: a full disk shows itself at the record, with the next step
            write_json(self.count_path, _SCHEMA, count)
