"""Who acts on the slots, and what everybody knows of a cluster from its directory."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_kina.errors import SpecError
from pytest_kina.files import peek_json
from pytest_kina.pool import records
from pytest_kina.pool.records import Note, Record, State
from pytest_kina.pool.root import Root
from pytest_kina.providers import Place, Provider, find
from pytest_kina.spec import ClusterDescription
from pytest_kina.timing import TimingRecorder


class SlotUnusable(Exception):
    """The slot is not ours to judge: a newer version wrote its record, or its provider is not installed here."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts on slots, for whom, and with which limits (seconds). ``providers`` is a cache by name."""

    root: Root
    run: str
    worker: str
    size: int
    ttl: float
    start_timeout: float
    recorder: TimingRecorder
    test: str = ""
    providers: dict[str, Provider] = field(default_factory=dict)

    def provider(self, name: str) -> Provider:
        """The provider of a record. Raises :class:`ProviderUnavailableError`."""
        if name not in self.providers:
            self.providers[name] = find(name)
        return self.providers[name]

    def note(self, doing: str) -> Note:
        """Who we are and what we do, for other people's messages."""
        return Note(doing=doing, pid=os.getpid(), worker=self.worker, test=self.test, since=time.time())


def place_of(root: Root, number: int, name: str) -> Place:
    """Where the cluster ``name`` of a slot lives, and the command that tidies the slot."""
    command = (sys.executable, "-P", "-m", "pytest_kina._tidy", "--root", str(root.path), "--slot", str(number))
    return Place(
        name=name,
        directory=root.clusters / name,
        slot_lock=records.lock_path(root.slots, number),
        tidy=(*command, "--cluster", name),
    )


def describe(directory: Path) -> ClusterDescription | None:
    """What ``cluster.json`` says; None when it is missing or unusable: such a cluster can only be deleted."""
    document = peek_json(directory / ClusterDescription.FILE, ClusterDescription.SCHEMA)
    try:
        return ClusterDescription.from_json(document) if document else None
    except SpecError:
        return None


def event_attributes(provider: Provider, description: ClusterDescription | None) -> dict[str, Any]:
    """What every timing event says about its cluster."""
    about: dict[str, Any] = {"provider": provider.info.name, "provider_version": provider.info.version}
    if description is None:
        return about
    spec = description.spec
    return about | {
        "cluster": description.name,
        "kubernetes": description.kubernetes,
        "profile": spec.profile,
        "nodes": spec.simulated_nodes,
    }


def concurrency(root: Root) -> int:
    """How many slots are in use or being worked on, roughly: read without taking a lock; at least 1.

    Where the system does not say which locks are held, what merely waits for its reset or deletion counts, too.
    """
    held = _held_locks()
    numbers = records.numbers(root.slots)
    return max(1, sum(_is_busy(root, number, records.peek(root.slots, number), held) for number in numbers))


def _is_busy(root: Root, number: int, record: Record | None, held: frozenset[tuple[int, int]] | None) -> bool:
    if record is None or record.state in (State.READY, State.QUARANTINED):
        return False
    if held is None:
        return True
    users = [root.processes / f"{user}.lock" for user in record.users] if record.state is State.SHARED else []
    return any(_identity(path) in held for path in (records.lock_path(root.slots, number), *users))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _held_locks() -> frozenset[tuple[int, int]] | None:
    """Device and inode of every file that somebody holds a lock on (proc(5), ``/proc/locks``); None without /proc."""
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    places = [line.split()[5].split(":") for line in lines if "->" not in line]
    return frozenset((os.makedev(int(major, 16), int(minor, 16)), int(inode)) for major, minor, inode in places)


def clusters_of(root: Root, number: int) -> list[str]:
    """Names of the cluster directories that belong to a slot."""
    pattern = re.compile(rf"kina-[0-9a-f]+-{number}-[0-9a-f]+")
    return sorted(path.name for path in root.clusters.iterdir() if pattern.fullmatch(path.name))
