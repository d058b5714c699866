"""The record of a slot: what is true of it if its writer dies now.

The lock says who is busy; the record says what its next holder must do. Only the holder of a slot's lock writes,
moves or removes the slot's record. A missing record means EMPTY.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pytest_kina.errors import StateError
from pytest_kina.files import Torn, peek_json, read_json, write_json
from pytest_kina.pool import crashpoints

SCHEMA = 1


class State(StrEnum):
    """What to do with the cluster of a slot whose lock is free."""

    DOOMED = "DOOMED"
    """It must be deleted: unfinished, unhealthy, unwanted, or leased as ``fresh``."""
    READY = "READY"
    """Complete and clean; may be handed out after a health check."""
    DIRTY = "DIRTY"
    """Must be reset or deleted before use."""
    SHARED = "SHARED"
    """Processes of its run may join; dirty for everybody else."""
    QUARANTINED = "QUARANTINED"
    """For a person: deleting failed too often (a later run tries once more), or the cluster is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Who wrote the record, for messages only; ``since`` is wall clock."""

    doing: str = ""
    pid: int = 0
    worker: str = ""
    test: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One slot's cluster.

    ``share`` tells apart the clusters that one run shares for equal specs (several names in one test). ``broken``: it
    died while it was shared, so nobody joins any more. ``attempts`` counts resets or deletes that began, ``uses``
    hand-outs. ``kept``: somebody wants to look at it, so nobody else uses, resets or deletes it any more.
    ``ttl`` is in seconds, of the run that used it last; ``idle_since`` is wall clock, None: the file's own time.
    """

    state: State
    cluster: str
    provider: str
    fingerprint: str
    run: str
    users: tuple[str, ...] = ()
    share: int = 0
    broken: bool = False
    kept: bool = False
    attempts: int = 0
    uses: int = 0
    ttl: float = 0.0
    idle_since: float | None = None
    last_error: str = ""
    note: Note = field(default_factory=Note)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON types, without ``schema``."""
        return asdict(self) | {"state": self.state.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The record that :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`ValueError`."""
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        try:
            note = {field.name: known["note"][field.name] for field in fields(Note) if field.name in known["note"]}
            known |= {"state": State(known["state"]), "users": tuple(known["users"]), "note": Note(**note)}
            record = cls(**known)
            numbers = [record.ttl, record.attempts, record.uses, record.share, record.idle_since or 0.0]
            texts = [record.cluster, record.provider, record.fingerprint, record.run, *record.users]
            sane = all(isinstance(each, str) for each in texts) and all(each >= 0 for each in numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a record: {error!r}") from error
        # The name becomes a path: a record must not lead out of the directory of clusters.
        if not sane or "/" in record.cluster or not record.cluster.startswith("kina-"):
            raise ValueError("not a record: a field has a wrong type")
        return record


def record_path(slots: Path, number: int) -> Path:
    """Where the record of a slot is, beside its lock."""
    return slots / f"{number}.json"


def lock_path(slots: Path, number: int) -> Path:
    """Where the lock of a slot is."""
    return slots / f"{number}.lock"


def peek(slots: Path, number: int) -> Record | None:
    """The record as it looks without the lock: good for choosing, never for acting. Unusable: None."""
    document = peek_json(record_path(slots, number), SCHEMA)
    try:
        return Record.from_json(document) if document else None
    except ValueError:
        return None


def read(slots: Path, number: int) -> Record | None:
    """The record of a slot whose lock is held; None when the slot is empty.

    Raises :class:`~pytest_kina.files.NewerSchema`, and :class:`~pytest_kina.files.Torn` after moving a malformed record
    aside.
    """
    path = record_path(slots, number)
    document = read_json(path, SCHEMA)
    if document is None:
        return None
    try:
        return Record.from_json(document)
    except ValueError as error:
        aside = path.with_name(f"{path.name}.torn-{secrets.token_hex(4)}")
        os.replace(path, aside)
        raise Torn(str(aside)) from error


def write(slots: Path, number: int, record: Record) -> None:
    """Replace the record of a slot whose lock is held.

    Raises :class:`StateError` when the disk refuses; the old record then stands.
    """
    path = record_path(slots, number)
    try:
        with crashpoints.around(f"record.{record.state}"):
            write_json(path, SCHEMA, record.to_json())
    except OSError as error:
        raise StateError(
            f"the record {path} cannot be written: {error.strerror or error}",
            next_step="make room on that disk, or set KINA_HOME to another one",
            path=str(path),
        ) from error


def remove(slots: Path, number: int) -> None:
    """Make the slot empty: the last act of deleting a cluster."""
    with crashpoints.around("record.remove"):
        record_path(slots, number).unlink(missing_ok=True)


def numbers(slots: Path) -> list[int]:
    """All slots that have a record, in order."""
    return sorted(int(path.stem) for path in slots.glob("*.json") if path.stem.isdecimal())


def idle_seconds(slots: Path, number: int, record: Record) -> float:
    """For how long nobody has used the cluster, by the wall clock, never below zero."""
    since = record.idle_since
    if since is None:
        try:
            since = record_path(slots, number).stat().st_mtime
        except FileNotFoundError:
            return 0.0
    return max(0.0, time.time() - since)
