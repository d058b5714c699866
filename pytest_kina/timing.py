"""Timings of a cluster's life: phases, the event that records one, and the recorder that keeps them.

Durations come from the monotonic performance counter; ``t0`` is wall clock, for placing a bar in a picture only. An
event is plain JSON types from the start: one ``Path`` on an xdist report ends the whole session.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pytest_kina.files import append_line

SCHEMA = 1


class Phase(StrEnum):
    """The named stretches of a cluster's life; they never overlap for one cluster.

    The first five are preparation, shown but never gated. ``create`` ends when the endpoint answers TLS, ``startup``
    when the cluster is ready, ``kubectl_ready`` when the first authenticated list has succeeded.
    """

    BINARIES = "binaries"
    TEMPLATE = "template"
    IMAGES = "images"
    START_WAIT = "start_wait"
    BUILD_WAIT = "build_wait"
    LEASE_WAIT = "lease_wait"
    CREATE = "create"
    STARTUP = "startup"
    KUBECTL_READY = "kubectl_ready"
    INSTALL = "install"
    IMAGE_LOAD = "image_load"
    RESET = "reset"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingEvent:
    """One measured phase.

    ``seconds`` is finite and not negative. ``ok`` is False for a phase that failed or timed out: its duration is a
    censored value and never enters statistics. ``start`` says how the cluster came about (``fresh``, ``template``,
    ``spare``, ``reused``), ``runtime`` what runs the cluster's containers or machines (``docker 29.1.0``; empty where
    the provider names none), ``concurrency`` how many cluster operations ran on this host when the phase began.
    """

    id: str
    run: str
    phase: Phase
    seconds: float
    ok: bool = True
    t0: float = 0.0
    worker: str = "main"
    nodeid: str = ""
    cluster: str = ""
    provider: str = ""
    provider_version: str = ""
    runtime: str = ""
    kubernetes: str = ""
    profile: str = ""
    nodes: int = 0
    start: str = "fresh"
    first_pull: bool = False
    concurrency: int = 1
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The event as plain JSON types, with its ``schema``."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return {"schema": SCHEMA, **values, "phase": self.phase.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The event in ``document``; unknown keys are ignored. Raises :class:`ValueError` for anything else."""
        try:
            known = {name: _shared(name, document[name]) for name in _FIELDS if name in document}
            event = cls(**{**known, "phase": Phase(document["phase"]), "seconds": float(document["seconds"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a timing event: {error!r}") from error
        if not math.isfinite(event.seconds) or event.seconds < 0:
            raise ValueError(f"not a duration: {event.seconds!r} s")
        return event


_FIELDS = tuple(field.name for field in fields(TimingEvent))


class TimingRecorder:
    """Collects the events of one process: in memory until they are drained, and at once in an append-only spool.

    The spool (``runs/<run>/<xdist worker>.jsonl``) survives a killed process; a torn last line is skipped by readers.
    ``bind`` returns a view that adds attributes to everything it records and shares the rest.
    """

    def __init__(self, *, run: str, worker: str, spool: Path | None = None) -> None:
        self.run = run
        self.worker = worker
        self.nodeid = ""
        self._spool = spool
        self._pending: list[TimingEvent] = []
        self._numbers = itertools.count(1)

    def add(self, phase: Phase, seconds: float, **attributes: Any) -> TimingEvent:
        """Record one phase of ``seconds``; the attributes are fields of :class:`TimingEvent`.

        Raises :class:`ValueError` when ``seconds`` is not a finite, non-negative number.
        """
        event = TimingEvent.from_json(
            {
                "id": f"{self.run}-{self.worker}-{os.getpid()}-{next(self._numbers)}",
                "run": self.run,
                "worker": self.worker,
                "nodeid": self.nodeid,
                "t0": time.time() - seconds,
                **attributes,
                "phase": phase,
                "seconds": seconds,
            }
        )
        self._pending.append(event)
        if self._spool is not None:
            # A full disk, or a run's directory that is gone: what was measured has happened all the same.
            with suppress(OSError):
                append_line(self._spool, json.dumps(event.to_json()))
        return event

    def bind(self, **attributes: Any) -> Stopwatch:
        """A stopwatch that adds ``attributes`` to each event."""
        return Stopwatch(self, attributes)

    def drain(self) -> list[TimingEvent]:
        """The events since the last call, oldest first."""
        pending, self._pending = self._pending, []
        return pending


class Stopwatch:
    """Measures phases with the same attributes: those of one cluster, one run, one xdist worker."""

    def __init__(self, recorder: TimingRecorder, attributes: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self._attributes = dict(attributes)

    def bind(self, **attributes: Any) -> Stopwatch:
        """Another stopwatch with more attributes."""
        return Stopwatch(self._recorder, self._attributes | attributes)

    def amend(self, **attributes: Any) -> None:
        """Change attributes of all that is recorded from now on: what only turns out on the way, like ``start``."""
        self._attributes |= attributes

    @property
    def start(self) -> str:
        """How the cluster came about, as far as it is known: ``fresh``, ``template``, ``spare`` or ``reused``."""
        return str(self._attributes.get("start", "fresh"))

    def add(self, phase: Phase, seconds: float, **attributes: Any) -> TimingEvent:
        """Record a duration that was measured elsewhere. Raises :class:`ValueError` like the recorder."""
        return self._recorder.add(phase, seconds, **(self._attributes | attributes))

    @contextmanager
    def phase(self, phase: Phase, **attributes: Any) -> Iterator[None]:
        """Measure the block; a block that raises is recorded with ``ok=False`` and the kind of its error."""
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.add(phase, time.perf_counter() - began, ok=False, error=type(error).__name__, **attributes)
            raise
        self.add(phase, time.perf_counter() - began, **attributes)


def read_spool(path: Path) -> list[TimingEvent]:
    """The events of a spool file; torn, foreign and newer lines are skipped. Missing file: none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return [event for line in lines if (event := _parse(line))]
    except FileNotFoundError:
        return []


def _shared(name: str, value: Any) -> Any:
    """``value``, as one object for all events that have an equal text: a million events fit into memory then."""
    return sys.intern(value) if type(value) is str and name != "id" else value


def _parse(line: str) -> TimingEvent | None:
    try:
        document = json.loads(line)
        return TimingEvent.from_json(document) if document["schema"] <= SCHEMA else None
    except (ValueError, TypeError, KeyError):
        return None
