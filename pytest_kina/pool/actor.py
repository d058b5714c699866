"""Who acts on the slots, and what everybody knows of a cluster from its directory."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_kina import crashpoints
from pytest_kina.errors import SpecError, StateError
from pytest_kina.files import peek_json
from pytest_kina.pool import records
from pytest_kina.pool.locks import is_alive, is_held
from pytest_kina.pool.records import Note, Record, State
from pytest_kina.pool.root import Root
from pytest_kina.providers import Place, Provider, find, measured_with
from pytest_kina.spec import ClusterDescription
from pytest_kina.timing import Stopwatch, TimingRecorder


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

    def stopwatch(self, provider: Provider, description: ClusterDescription | None, **attributes: Any) -> Stopwatch:
        """For one piece of work on a cluster; its events say all that is known of the cluster by now."""
        about = event_attributes(provider, description) | attributes
        return self.recorder.bind(**about, concurrency=concurrency(self.root))

    def note(self, doing: str) -> Note:
        """Who we are and what we do, for other people's messages."""
        return Note(doing=doing, pid=os.getpid(), worker=self.worker, test=self.test, since=time.time())


def unhealthy(provider: Provider, place: Place) -> str | None:
    """One sentence that says why the cluster must not be handed out, or None."""
    with crashpoints.around("check"):
        try:
            return provider.check(place)
        except Exception as error:  # a check that cannot say "healthy" means that the cluster is not
            return f"the health check failed: {error}"


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


def newer_description(directory: Path) -> str | None:
    """One sentence when a newer version of this plugin, which alone may judge the cluster, described it; else None."""
    path = directory / ClusterDescription.FILE
    document = peek_json(path, sys.maxsize)
    if document is None or document["schema"] <= ClusterDescription.SCHEMA:
        return None
    return f"{path} has schema {document['schema']}, this version knows {ClusterDescription.SCHEMA}"


def made_by_another(directory: Path, provider: Provider) -> str | None:
    """The version of the provider that made the cluster, when it is another than that of ``provider``; else None."""
    description = describe(directory)
    version = dict(description.identity).get("provider_version") if description else None
    return version if version != provider.info.version else None


def event_attributes(provider: Provider, description: ClusterDescription | None) -> dict[str, Any]:
    """What every timing event says about its cluster."""
    about: dict[str, Any] = measured_with(provider, dict(description.identity) if description else {})
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
    """How many slots are in use or being worked on, roughly: read without taking a lock; at least 1."""
    return max(1, sum(_is_busy(root, number, record) for number, record in records.survey(root.slots).items()))


def _is_busy(root: Root, number: int, record: Record) -> bool:
    if record.state in (State.READY, State.QUARANTINED):
        return False
    # One file at a time: /proc/locks knows all, but reading it stops every lock of the machine for a moment.
    try:
        if record.state is State.SHARED:
            return any(is_alive(root.processes, user) for user in record.users)
        return is_held(records.lock_path(root.slots, number))
    except StateError:  # no descriptor is left, say
        return True


def clusters_of(root: Root, number: int) -> list[str]:
    """Names of the cluster directories that belong to a slot."""
    pattern = re.compile(rf"kina-[0-9a-f]+-{number}-[0-9a-f]+")
    return sorted(path.name for path in root.clusters.iterdir() if pattern.fullmatch(path.name))


def slot_of(root: Root, name: str) -> int | None:
    """The slot that a cluster of this pool is named for; None for every other name, also those of other pools."""
    found = re.fullmatch(rf"kina-{re.escape(root.pool_id)}-(\d{{1,9}})-[0-9a-f]+", name)
    return int(found[1]) if found else None
