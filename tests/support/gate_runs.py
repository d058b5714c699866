"""Imaginary runs for the tests of the gate: measurements, documents and histories made of plain numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_kina.gate import History, Measurements, SeriesSamples, StoredRun
from pytest_kina.report.stats import describe

MACHINE = "linux-x86_64-2cpu-8gib-abcdef"
STEADY = (1.0, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.0, 1.02, 0.98)
"""Medians in seconds of ten runs that are like each other."""


def name(phase: str) -> str:
    """The full name of a phase's series."""
    return f"kina::{phase}[embedded-k8s1.36-api-n0-fresh-c1]"


def series(phase: str = "create", *seconds: float, **fields: Any) -> SeriesSamples:
    """A series; five samples around 1 s unless told otherwise."""
    known: dict[str, Any] = {"provider": "embedded", "kubernetes": "1.36", "profile": "api", "provider_minor": "0.1"}
    return SeriesSamples(fullname=name(phase), phase=phase, seconds=seconds or around(1.0), **(known | fields))


def around(seconds: float, count: int = 5) -> tuple[float, ...]:
    """So many samples with that median, 1 % apart."""
    return tuple(seconds * (1 + (at - (count - 1) / 2) / 100) for at in range(count))


def measurements(*found: SeriesSamples, **fields: Any) -> Measurements:
    """A complete run of these series."""
    known: dict[str, Any] = {"machine": MACHINE, "run": "this", "branch": "main", "node": "here"}
    return Measurements(series=found, **(known | fields))


def history(*runs: Sequence[SeriesSamples], **fields: Any) -> History:
    """Accepted runs, numbered from 1."""
    stored = [
        StoredRun.of(measurements(*one, run=f"run {at}"), number=at, path=Path(f"{at:04d}_a_b.json"), accepted=True)
        for at, one in enumerate(runs, start=1)
    ]
    return History(machine=MACHINE, runs=tuple(stored), **fields)


def steady(phase: str = "create", *medians: float, **fields: Any) -> History:
    """A history of one series with these run medians."""
    return history(*([series(phase, *around(one), **fields)] for one in medians or STEADY))


def document(
    rows: Mapping[str, Sequence[float]], *, run: str = "this", machine: str = MACHINE, **kina: Any
) -> dict[str, Any]:
    """A document of ``--kina-bench-json``; ``rows`` maps phases to samples."""
    return {
        "machine_info": {"node": "here", "cpu": {}},
        "commit_info": {"id": "0123456789abcdef", "branch": "main", "time": None, "dirty": False},
        "datetime": "2026-11-21T08:00:00+00:00",
        "version": "5.3.1",
        "benchmarks": [row(phase, seconds) for phase, seconds in rows.items()],
        "kina": {
            "schema": 1,
            "version": "0.1.0",
            "run": run,
            "complete": True,
            "incomplete": [],
            "series_version": 1,
            "machine_key": machine,
            "failures": {},
            "events": [],
            **kina,
        },
    }


def row(phase: str, seconds: Sequence[float]) -> dict[str, Any]:
    """One benchmark of a document."""
    return {
        "group": "kina embedded",
        "name": name(phase).replace("::", "."),
        "fullname": name(phase),
        "params": {
            "phase": phase,
            "provider": "embedded",
            "kubernetes": "1.36",
            "profile": "api",
            "nodes": 0,
            "start": "fresh",
            "concurrency": "1",
        },
        "param": "embedded",
        "extra_info": {"series_version": 1, "kubernetes": ["v1.36.3"], "provider_versions": ["0.1.0"], "failures": 0},
        "options": {},
        "stats": describe(list(seconds)),
    }


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """The document as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
