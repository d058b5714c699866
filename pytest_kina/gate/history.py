"""The store of earlier runs: append-only, one file per run, readable by ``pytest-benchmark compare``.

``<store>/<machine key>/NNNN_<commit>_<utc>.json`` is the document of ``--kina-bench-json`` without its events, with
``kina.gate``: the judgement, and whether later runs may be compared with it. ``NNNN_<utc>.epoch`` says from which
number on some series count: the runs before it are kept and ignored. Order is by number, so a clock that goes
backwards changes nothing. Nothing here deletes or rewrites a file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pytest_kina.errors import StateError
from pytest_kina.files import write_atomic
from pytest_kina.gate.measurements import Measurements, SeriesSamples, measured, read_document
from pytest_kina.gate.promotion import Promotion
from pytest_kina.gate.rules import LEAST_SAMPLES
from pytest_kina.gate.verdicts import Judgement

SCHEMA = 1
_NUMBERED = re.compile(r"\.?(\d{4,})[_.].*")
_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One file of the store; ``series`` are those that have samples, by full name."""

    number: int
    path: Path
    accepted: bool
    measurements: Measurements
    series: Mapping[str, SeriesSamples]

    @classmethod
    def of(cls, measurements: Measurements, *, number: int, path: Path, accepted: bool) -> Self:
        """The run in ``path``."""
        series = {one.fullname: one for one in measurements.series if one.seconds}
        return cls(number=number, path=path, accepted=accepted, measurements=measurements, series=series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """From run ``number`` on, these series (by name) are compared with new runs only."""

    number: int
    series: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the store has for one machine, oldest first; ``problems`` name every file that could not be used."""

    machine: str
    runs: tuple[StoredRun, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    problems: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def baseline(self, series: SeriesSamples, window: int | None) -> tuple[SeriesSamples, ...]:
        """The same series in the last ``window`` accepted runs (None: in all) since its epoch, oldest first.

        Runs with fewer than 3 samples of it do not count: a single sample is no median, and its noise widens the limit
        until a doubling fits below it.
        """
        found = [one for one in self.earlier(series) if comparable(one, series) and len(one.seconds) >= LEAST_SAMPLES]
        return tuple(found if window is None else found[-window:])

    def earlier(self, series: SeriesSamples) -> tuple[SeriesSamples, ...]:
        """The series of that name in all accepted runs since its epoch, comparable or not."""
        epoch = self.epoch(series.fullname)
        since = epoch.number if epoch else 0
        runs = [run.series for run in self.runs if run.accepted and run.number > since]
        return tuple(known[series.fullname] for known in runs if series.fullname in known)

    def before(self, run: str) -> History:
        """The history as it was when ``run`` was judged; the whole one for a run that is not in it."""
        number = next((one.number for one in self.runs if one.measurements.run == run), None)
        if number is None:
            return self
        runs = tuple(one for one in self.runs if one.number < number)
        return replace(self, runs=runs, epochs=tuple(one for one in self.epochs if one.number < number))

    def epoch(self, fullname: str) -> Epoch | None:
        """The last epoch of a series."""
        return next((epoch for epoch in reversed(self.epochs) if fullname in epoch.series), None)


def load(store: Path, machine: str) -> History:
    """Everything usable in the store; what is not usable is left where it is and named in ``problems``."""
    problems: list[str] = []
    runs: dict[str, StoredRun] = {}
    epochs: list[Epoch] = []
    for number, path in _numbered(store / machine):
        try:
            if path.suffix == ".epoch":
                epochs.append(_epoch(number, path))
            elif path.suffix == ".json":
                _take(runs, _run(number, path, machine))
        except StateError as error:
            problems.append(f"history: {error.message}; the file is ignored")
    problems += [f"history: {why}" for why in _unreadable(store / machine)]
    return History(
        machine=machine,
        runs=tuple(runs.values()),
        epochs=tuple(epochs),
        problems=tuple(problems),
        others=tuple(path.name for path in _entries(store) if path.name != machine and _numbered(path)),
    )


def save(store: Path, document: Mapping[str, Any], judgement: Judgement, decision: Promotion) -> Path:
    """Add the run to the store and return its file. Raises :class:`StateError` when it cannot be written."""
    kina = {key: value for key, value in document["kina"].items() if key != "events"}
    kina["gate"] = {"accepted": decision.accepted, "why": decision.why, **judgement.to_json()}
    content = json.dumps({**document, "kina": kina}, indent=1, allow_nan=False, default=str)
    commit = re.sub(r"[^0-9A-Za-z]", "", str((document.get("commit_info") or {}).get("id") or "unversioned"))[:12]
    return _append(store / judgement.machine, f"{commit}_{_utc()}.json", content)


def accept(store: Path, machine: str, series: str, reason: str) -> Path:
    """Write an epoch marker: from now on ``series`` is compared with new runs only.

    ``series`` is a full name as in reports, a phase (``create``: all series of that phase), or ``all``. Raises
    :class:`StateError` when the store has no such series, or cannot be written.
    """
    known = {(one.fullname, one.phase) for run in load(store, machine).runs for one in run.measurements.series}
    chosen = sorted(name for name, phase in known if series in (name, phase, "all"))
    if not chosen:
        names = "".join(f"\n  {name}" for name in sorted(name for name, _ in known)) or " none"
        raise StateError(
            f"{store / machine} has no series {series!r}; known are:{names}",
            next_step="name one of them, a phase like 'create', or 'all'",
            path=store,
        )
    content = json.dumps({"schema": SCHEMA, "series": chosen, "reason": reason, "datetime": _utc()}, indent=1)
    return _append(store / machine, f"{_utc()}.epoch", content)


def comparable(one: SeriesSamples, other: SeriesSamples) -> bool:
    """Whether two series of one name were measured with the same provider, runtime and meaning."""
    return (one.version, one.provider_minor, one.runtime) == (other.version, other.provider_minor, other.runtime)


def _take(runs: dict[str, StoredRun], run: StoredRun) -> None:
    known = runs.setdefault(run.measurements.run, run)
    if known is not run:
        raise StateError(f"{run.path} holds the same run as {known.path.name}", path=run.path)


def _run(number: int, path: Path, machine: str) -> StoredRun:
    document = read_document(path)
    found = measured(document, place=str(path))
    gate = document["kina"].get("gate")
    if not isinstance(gate, dict) or not isinstance(gate.get("accepted"), bool):
        raise StateError(f"{path} was not written by the gate: it does not say whether it is accepted", path=path)
    if found.machine != machine:
        raise StateError(f"{path} was measured on machine {found.machine!r}, not {machine!r}", path=path)
    return StoredRun.of(found, number=number, path=path, accepted=gate["accepted"])


def _epoch(number: int, path: Path) -> Epoch:
    document = read_document(path)
    schema, series = document.get("schema"), document.get("series")
    if not isinstance(schema, int) or schema > SCHEMA or not isinstance(series, list):
        raise StateError(f"{path} is no epoch marker that this version understands", path=path)
    return Epoch(number=number, series=tuple(map(str, series)), reason=str(document.get("reason", "")))


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _unreadable(directory: Path) -> list[str]:
    try:
        list(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{directory} cannot be read: {error.strerror or error}"]
    return []


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    """The visible files of the store with their numbers, in order; what has no number is not ours."""
    found = [(number, path) for path in _entries(directory) if path.name[0] != "." and (number := _number(path.name))]
    return sorted(found)


def _number(name: str) -> int:
    match = _NUMBERED.fullmatch(name)
    return int(match[1]) if match else 0


def _append(directory: Path, rest: str, content: str) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        claim = _claim(directory)
        path = directory / f"{_number(claim.name):04d}_{rest}"
        try:
            write_atomic(path, content.encode() + b"\n", mode=0o666)
        finally:
            claim.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"the history in {directory} cannot be written: {error.strerror or error}",
            next_step="name a directory that you may write to as the store",
            path=directory,
        ) from error
    return path


def _claim(directory: Path) -> Path:
    """A number that nobody else has: a hidden file that exists while its number's file is being written.

    The claim alone is not enough: whoever listed the directory before another writer was done could take the number
    that the other has just given up, so the number must be free after the claim too.
    """
    for _ in range(_ATTEMPTS):
        number = 1 + max((_number(path.name) for path in _entries(directory)), default=0)
        claim = directory / f".{number:04d}.claim"
        try:
            os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        if not any(_number(path.name) == number for path in _entries(directory) if path != claim):
            return claim
        claim.unlink(missing_ok=True)
    raise OSError(f"no number was free in {_ATTEMPTS} attempts")


def _utc() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
