"""The record of a slot: what is true of it if its writer dies now.

The lock says who is busy; the record says what its next holder must do. Only the holder of a slot's lock writes,
moves or removes the slot's record. A missing record means EMPTY.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pytest_kina import crashpoints
from pytest_kina.errors import StateError
from pytest_kina.files import Torn, peek_json, read_json, write_json

SCHEMA = 1

_SETTLED = 1.0
"""Seconds after which a change of a file would give it another time, whatever the file system's resolution is."""


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
        values = {name: getattr(self, name) for name in _FIELDS}
        note = {name: getattr(self.note, name) for name in _NOTE_FIELDS}
        return {**values, "state": self.state.value, "users": list(self.users), "note": note}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The record that :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`ValueError`."""
        known = {name: document[name] for name in _FIELDS if name in document}
        try:
            note = {name: known["note"][name] for name in _NOTE_FIELDS if name in known["note"]}
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


# Asking the dataclass each time takes longer than to read and parse a record.
_FIELDS = tuple(field.name for field in fields(Record))
_NOTE_FIELDS = tuple(field.name for field in fields(Note))


# What this process has read last of each record, and how the file looked: inode, time of its last change, size.
_Stamp = tuple[int, int, int]
_seen: dict[str, tuple[_Stamp, Record | None]] = {}


def record_path(slots: Path, number: int) -> Path:
    """Where the record of a slot is, beside its lock."""
    return slots / f"{number}.json"


def lock_path(slots: Path, number: int) -> Path:
    """Where the lock of a slot is."""
    return slots / f"{number}.lock"


def peek(slots: Path, number: int) -> Record | None:
    """The record as it looks without the lock: good for choosing, never for acting. Unusable: None.

    A file that has not changed since the last look is not read again, so that a look at a pool of many slots is cheap.
    """
    path = f"{slots}/{number}.json"
    try:
        found = os.stat(path)  # noqa: PTH116 - of every slot at every lease; a Path costs more than the call
    except OSError:
        _seen.pop(path, None)
        return None
    stamp = (found.st_ino, found.st_ctime_ns, found.st_size)
    if (seen := _seen.get(path)) is not None and seen[0] == stamp:
        return seen[1]
    record = _parsed(record_path(slots, number))
    # A file that is written twice between two ticks of the file system's clock may look the same (racy-git in git's
    # documentation), and so may one that another moment's inode was given to: what is that young is read again.
    if time.time() - found.st_ctime > _SETTLED:
        _seen[path] = stamp, record
    return record


def _parsed(path: Path) -> Record | None:
    document = peek_json(path, SCHEMA)
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
            write_json(path, SCHEMA, record.to_json(), passing=True)  # under a lock that others wait for
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
    try:
        names = os.listdir(slots)  # noqa: PTH208 - a tenth of the time of Path.iterdir
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def survey(slots: Path) -> dict[int, Record]:
    """All slots with a usable record, as they look without the locks; see :func:`peek`."""
    return {number: record for number in numbers(slots) if (record := peek(slots, number)) is not None}


def idle_seconds(slots: Path, number: int, record: Record) -> float:
    """For how long nobody has used the cluster, by the wall clock, never below zero."""
    since = record.idle_since
    if since is None:
        try:
            since = record_path(slots, number).stat().st_mtime
        except FileNotFoundError:
            return 0.0
    return max(0.0, time.time() - since)
