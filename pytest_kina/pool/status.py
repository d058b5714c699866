"""What the pool looks like from outside: for the command line, and for the error at the end of a wait."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kina.files import peek_json
from pytest_kina.pool import records
from pytest_kina.pool.locks import is_held
from pytest_kina.pool.records import Note, Record
from pytest_kina.pool.root import Root


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """One slot at one moment.

    ``state`` is a record's state, or EMPTY, UNREADABLE (malformed) or NEWER (of a newer version, and left alone).
    ``held``: somebody has the slot's lock. ``kept``: the cluster stays for a person.
    """

    slot: int
    state: str
    held: bool
    cluster: str = ""
    provider: str = ""
    fingerprint: str = ""
    run: str = ""
    users: tuple[str, ...] = ()
    note: Note = field(default_factory=Note)
    idle_seconds: float = 0.0
    last_error: str = ""
    kept: bool = False

    def sentence(self) -> str:
        """One line for a person: state, held or free, and who did what last."""
        parts = [f"slot {self.slot}: {self.state}, {'held' if self.held else 'free'}", self.cluster, _told(self.note)]
        if self.users:
            parts.append(f"shared by {', '.join(_user(user) for user in self.users)}")
        parts.append(self.last_error and f"last error: {self.last_error}")
        return "; ".join(part for part in parts if part)


def status(root: Root, size: int) -> list[SlotStatus]:
    """Every slot below ``size``, and those above that have a record. Takes no lock for longer than a probe."""
    return [_status_of(root, number) for number in sorted({*range(size), *records.numbers(root.slots)})]


def age(seconds: float) -> str:
    """``12s``, ``3m 20s``, ``2h 05m``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def stopped(pid: int) -> bool:
    """Whether the process is stopped (Ctrl-Z, a debugger); False also where nobody can tell. Linux: proc(5)."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The second field is the program's name in brackets, which may contain anything.
    return content.rpartition(")")[2].split()[0] in "Tt"


def _status_of(root: Root, number: int) -> SlotStatus:
    held = is_held(records.lock_path(root.slots, number))
    record = records.peek(root.slots, number)
    if record is None:
        return SlotStatus(slot=number, state=_without_record(root, number), held=held)
    return _from_record(root, number, record, held=held)


def _without_record(root: Root, number: int) -> str:
    path = records.record_path(root.slots, number)
    if not path.exists():
        return "EMPTY"
    return "UNREADABLE" if peek_json(path, sys.maxsize) is None or peek_json(path, records.SCHEMA) else "NEWER"


def _from_record(root: Root, number: int, record: Record, *, held: bool) -> SlotStatus:
    return SlotStatus(
        slot=number,
        state=record.state.value,
        held=held,
        cluster=record.cluster,
        provider=record.provider,
        fingerprint=record.fingerprint,
        run=record.run,
        users=record.users,
        note=record.note,
        idle_seconds=0.0 if held else records.idle_seconds(root.slots, number, record),
        last_error=record.last_error,
        kept=record.kept,
    )


def _told(note: Note) -> str:
    if not note.doing:
        return ""
    clock = time.strftime("%H:%M:%S", time.localtime(note.since))
    suspended = ", which is STOPPED" if stopped(note.pid) else ""
    test = f" for {note.test}" if note.test else ""
    return f"{note.doing} since {clock} by process {note.pid} ({note.worker}){suspended}{test}"


def user_stopped(name: str) -> bool:
    """Whether the process with this name (``<run>.<pid>.<8 hex digits>``) is stopped."""
    pid = _pid(name)
    return pid.isdecimal() and stopped(int(pid))


def _user(name: str) -> str:
    return f"process {_pid(name) or name}{' (STOPPED)' * user_stopped(name)}"


def _pid(name: str) -> str:
    return name.split(".")[1] if name.count(".") == 2 else ""
