"""Show what runs measured, from files of ``--kina-bench-json`` or of the history, and what the gate said of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kina.cli.output import say, say_json
from pytest_kina.errors import StateError
from pytest_kina.gate import Judgement, Measurements, SeriesSamples, Verdict, lines, measured, read_document
from pytest_kina.gate.inference import percentile
from pytest_kina.gate.wording import seconds, table
from pytest_kina.settings import Settings

HELP = "show what runs measured"

_HEADINGS = ("series", "n", "min", "median", "p95", "max", "failed")
_ENOUGH_FOR_P95 = 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a file of --kina-bench-json or a stored run"
    )


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the runs; 0. Raises StateError for a file that cannot be used."""
    del settings
    documents = [(path, read_document(path)) for path in chosen.files]
    runs = [(path, document, measured(document, place=str(path))) for path, document in documents]
    if chosen.json:
        say_json({"runs": [_json(path, document, found) for path, document, found in runs]})
        return 0
    for path, document, found in runs:
        say([f"{path}: {_heading(found)}", *_rows(found), *_verdicts(document, path), ""])
    return 0


def _heading(run: Measurements) -> str:
    state = f"incomplete ({'; '.join(run.incomplete)})" if run.incomplete else "complete"
    return f"run {run.run} of {run.time or 'an unknown time'}, commit {run.commit[:12]}, {run.machine}, {state}"


def _rows(run: Measurements) -> list[str]:
    return table([_HEADINGS, *(_cells(series) for series in run.series)], left=1)


def _cells(series: SeriesSamples) -> tuple[str, ...]:
    values = series.seconds
    p95 = seconds(percentile(values, 0.95)) if len(values) >= _ENOUGH_FOR_P95 else "-"
    shown = [seconds(percentile(values, share)) if values else "-" for share in (0.0, 0.5, 1.0)]
    low, middle, high = shown
    name = series.fullname.removeprefix("kina::")
    return name, str(len(values)), low, middle, p95, high, str(series.failures or "")


def _verdicts(document: Mapping[str, Any], path: Path) -> list[str]:
    gate = document["kina"].get("gate")
    if not isinstance(gate, dict):
        return []
    try:
        verdicts = tuple(Verdict.from_json(one) for one in gate["verdicts"])
        judgement = Judgement(machine=str(gate["machine"]), verdicts=verdicts, notes=tuple(map(str, gate["notes"])))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path}: what the gate said cannot be read: {error}", path=path) from error
    return [*lines(judgement, "warn"), str(gate.get("why", ""))]


def _json(path: Path, document: Mapping[str, Any], run: Measurements) -> dict[str, Any]:
    stats = {row["fullname"]: row["stats"] for row in document["benchmarks"]}
    return {
        "file": str(path),
        "run": run.run,
        "machine": run.machine,
        "commit": run.commit,
        "incomplete": list(run.incomplete),
        "series": stats,
        "gate": document["kina"].get("gate"),
    }
