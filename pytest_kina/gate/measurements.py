"""What one run measured, read from the document of ``--kina-bench-json`` or from a file of the history.

Every value is checked here, once: whoever has :class:`Measurements` has finite, non-negative seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_kina.errors import StateError

SCHEMA = 1
"""The newest ``kina.schema`` of a document that this version understands."""

_NEXT = "write the file again with --kina-bench-json, or leave it out"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSamples:
    """The samples of one series in seconds. ``kubernetes`` to ``concurrency`` are those of its key.

    ``provider_minor`` is the provider's version without the patch, ``runtime`` the programs that ran its containers or
    machines with their major versions (``docker 29``, ``kina 0.1, container 1``), ``version`` the series version:
    samples are comparable only when all of these are equal.
    """

    fullname: str
    phase: str
    provider: str
    kubernetes: str = ""
    profile: str = ""
    nodes: int = 0
    start: str = "fresh"
    concurrency: str = "1"
    provider_minor: str = ""
    runtime: str = ""
    version: int = 1
    seconds: tuple[float, ...] = ()
    failures: int = 0

    @property
    def alone(self) -> str:
        """The full name of the same series for a cluster that was made while no other one was in use."""
        return alone(self.fullname)


def alone(fullname: str) -> str:
    """``fullname`` with the concurrency 1: what was measured beside other clusters depends on these, too."""
    return re.sub(r"-c\d[\d+-]*]$", "-c1]", fullname)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """One run. ``time`` is ISO 8601 in UTC; ``incomplete`` and ``partial`` say in words why something is not in it."""

    machine: str
    run: str
    commit: str = "unversioned"
    branch: str = ""
    time: str = ""
    node: str = ""
    incomplete: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    series: tuple[SeriesSamples, ...] = ()


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises :class:`StateError`: no such file, not readable, not JSON, no object."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror or error}", next_step=_NEXT, path=path) from error
    except ValueError as error:
        raise StateError(f"{path} is not valid JSON, perhaps truncated: {error}", next_step=_NEXT, path=path) from error
    if not isinstance(document, dict):
        raise StateError(f"{path}: expected a JSON object, found {type(document).__name__}", next_step=_NEXT, path=path)
    return document


def measured(document: Mapping[str, Any], *, place: str) -> Measurements:
    """The run in ``document``; ``place`` is what messages call it.

    Raises :class:`StateError` for a document of another program, of a newer version, with a value that is no
    duration, or with two series of one name.
    """
    kina = document.get("kina")
    if not isinstance(kina, dict) or not isinstance(document.get("benchmarks"), list):
        raise _wrong(place, "has no timings of pytest-kina (the key 'kina' or 'benchmarks' is missing)")
    if not isinstance(schema := kina.get("schema"), int) or schema > SCHEMA:
        problem = f"has schema {schema!r}, this version of pytest-kina understands {SCHEMA}"
        raise _wrong(place, problem, next_step="read it with the version of pytest-kina that wrote it, or a newer one")
    try:
        return _measured(document, kina, place)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _wrong(place, f"does not have the shape of pytest-kina's timings: {error!r}") from error


def merge(runs: Sequence[Measurements]) -> Measurements:
    """The samples of several measurings of one kind joined, series by series; the rest is of the first one."""
    joined: dict[str, SeriesSamples] = {}
    for series in (series for run in runs for series in run.series):
        known = joined.get(series.fullname)
        joined[series.fullname] = _join(known, series) if known else series
    reasons = tuple(dict.fromkeys(why for run in runs for why in run.incomplete))
    return replace(runs[0], series=tuple(joined.values()), incomplete=reasons)


def _join(one: SeriesSamples, other: SeriesSamples) -> SeriesSamples:
    return replace(one, seconds=one.seconds + other.seconds, failures=one.failures + other.failures)


def _measured(document: Mapping[str, Any], kina: Mapping[str, Any], place: str) -> Measurements:
    failures = {str(name): _count(count, place, str(name)) for name, count in kina.get("failures", {}).items()}
    series = [_series(row, failures, place) for row in document["benchmarks"]]
    names = [one.fullname for one in series]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _wrong(place, f"has the series {twice[0]} twice")
    commit = document.get("commit_info") or {}
    return Measurements(
        machine=_directory_name(kina["machine_key"], place),
        run=str(kina["run"]),
        commit=str(commit.get("id") or "unversioned"),
        branch=str(commit.get("branch") or ""),
        time=str(document.get("datetime") or ""),
        node=str((document.get("machine_info") or {}).get("node") or ""),
        incomplete=_incomplete(kina),
        partial=tuple(str(why) for why in kina.get("partial", ())),
        series=(*series, *(_failed(name, count) for name, count in failures.items() if name not in names)),
    )


def _incomplete(kina: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = tuple(str(why) for why in kina.get("incomplete", ()))
    return reasons or (() if kina.get("complete") is True else ("its writer did not say that it is complete",))


def _series(row: Mapping[str, Any], failures: Mapping[str, int], place: str) -> SeriesSamples:
    name, params, extra = str(row["fullname"]), row["params"], row["extra_info"]
    return SeriesSamples(
        fullname=name,
        phase=str(params["phase"]),
        provider=str(params["provider"]),
        kubernetes=str(params["kubernetes"]),
        profile=str(params["profile"]),
        nodes=int(params["nodes"]),
        start=str(params["start"]),
        concurrency=str(params["concurrency"]),
        provider_minor=", ".join(sorted({_minor(str(one)) for one in extra.get("provider_versions", ())})),
        runtime=", ".join(sorted({_major(str(one)) for one in extra.get("runtimes", ())})),
        version=int(extra["series_version"]),
        seconds=tuple(_seconds(value, place, name) for value in row["stats"]["data"]),
        failures=failures.get(name, 0),
    )


def _failed(name: str, count: int) -> SeriesSamples:
    """A series of which no attempt succeeded: the document has its name only."""
    phase, _, kind = name.removeprefix("kina::").partition("[")
    return SeriesSamples(fullname=name, phase=phase, provider=kind.partition("-k8s")[0], failures=count)


def _minor(version: str) -> str:
    return ".".join(version.removeprefix("v").split(".")[:2])


def _major(runtime: str) -> str:
    """Programs with their major versions, those before 1.0 with the minor one, which may change anything."""
    return re.sub(r"\bv?(0\.\d+|\d+)\.[\w.+-]*", r"\1", runtime)


def _seconds(value: object, place: str, name: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise _wrong(place, f"has a sample of {name} that is no duration: {value!r}; expected seconds, 0 or more")


def _count(value: object, place: str, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _wrong(place, f"has a number of failures of {name} that is no count: {value!r}")


def _directory_name(key: object, place: str) -> str:
    if isinstance(key, str) and key and "/" not in key and "\\" not in key and key not in {".", ".."}:
        return key
    raise _wrong(place, f"has no usable machine key: {key!r}")


def _wrong(place: str, what: str, next_step: str = _NEXT) -> StateError:
    return StateError(f"{place} {what}", next_step=next_step, path=place)
