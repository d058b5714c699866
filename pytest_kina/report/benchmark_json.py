"""The timings of a run in the shape of pytest-benchmark 5.3.1, complete, also under xdist and without that plugin.

``pytest-benchmark compare``, ``pytest --benchmark-compare``, github-action-benchmark and Bencher read it. All times
are seconds. What the shape has no place for is under the top-level key ``kina``, which those tools ignore.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_kina import __version__
from pytest_kina.errors import SettingsError
from pytest_kina.files import write_atomic
from pytest_kina.report.machine import commit_info, machine_info, memory_bytes
from pytest_kina.report.machine_key import machine_key
from pytest_kina.report.pieces import pieces
from pytest_kina.report.series import VERSION, Series, comparable
from pytest_kina.report.stats import describe
from pytest_kina.report.summary import RunTimings

SHAPE = "5.3.1"
SCHEMA = 1


def check_writable(path: Path) -> None:
    """Prove before the run that ``path`` can be written at its end; leaves what is there alone.

    Raises :class:`SettingsError`.
    """
    problem = "it is no regular file" if path.exists() and not path.is_file() else _unwritable(path)
    if problem:
        raise SettingsError(
            f"--kina-bench-json: {path} cannot be written: {problem}",
            next_step="name a file in an existing directory that you may write to",
        )


def write_benchmarks(
    path: Path, timings: RunTimings, project: Path, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write the document and all events to ``path``; ``more`` goes under ``kina``. Raises :class:`OSError`.

    ``project`` is where the commit is looked up.
    """
    whole = document(timings, project)
    kina = {**whole["kina"], **more, "events": (event.to_json() for event in timings.events)}
    write_atomic(path, pieces({**whole, "benchmarks": iter(whole["benchmarks"]), "kina": kina}), mode=0o666)


def document(timings: RunTimings, project: Path) -> dict[str, Any]:
    """The document as plain JSON types, without the events, which are as many as the samples and more."""
    series = comparable(timings.events)
    return {
        "machine_info": machine_info(),
        "commit_info": commit_info(project),
        "benchmarks": [row(one) for one in series if one.seconds],
        "datetime": datetime.now(UTC).isoformat(),
        "version": SHAPE,
        "kina": {
            "schema": SCHEMA,
            "version": __version__,
            "run": timings.run,
            "complete": not timings.incomplete,
            "incomplete": list(timings.incomplete),
            "series_version": VERSION,
            "memory_bytes": memory_bytes(),
            "machine_key": machine_key(os.environ),
            "failures": {one.key.fullname: one.failures for one in series if one.failures},
        },
    }


def _unwritable(path: Path) -> str | None:
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    try:
        write_atomic(probe, b"")
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def row(series: Series) -> dict[str, Any]:
    """One series that has samples, as an element of ``benchmarks``."""
    key = series.key
    return {
        "group": f"kina {key.provider}",
        "name": key.name,
        "fullname": key.fullname,
        "params": {
            "phase": key.phase,
            "provider": key.provider,
            "kubernetes": key.kubernetes,
            "profile": key.profile,
            "nodes": key.nodes,
            "start": key.start,
            "concurrency": key.bucket,
        },
        "param": key.kind,
        "extra_info": {
            "series_version": VERSION,
            "kubernetes": list(series.kubernetes),
            "provider_versions": list(series.provider_versions),
            "runtimes": list(series.runtimes),
            "failures": series.failures,
        },
        "options": {
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": 1,
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": False,
        },
        "stats": describe(series.seconds),
    }
