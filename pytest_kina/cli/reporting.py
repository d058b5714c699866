"""Show what runs measured, from files of ``--kina-bench-json`` or of the history, and what the gate said of them.

As text, as JSON, or one run as the HTML page of ``--kina-html``: with the trend over the runs before it, and its
waterfall and measurements as far as the file has them (a stored run has no events).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_kina.cli.output import say, say_json, write_page
from pytest_kina.cli.stored import add_store, store_of
from pytest_kina.errors import SettingsError, StateError
from pytest_kina.gate import (
    Judgement,
    Measurements,
    Rules,
    SeriesSamples,
    Verdict,
    judge,
    lines,
    load,
    measured,
    read_document,
)
from pytest_kina.gate.inference import percentile
from pytest_kina.gate.wording import seconds, table
from pytest_kina.settings import Settings

HELP = "show what runs measured"

_HEADINGS = ("series", "n", "min", "median", "p95", "max", "failed")
_ENOUGH_FOR_P95 = 20
_Run = tuple[Path, Mapping[str, Any], Measurements]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a file of --kina-bench-json or a stored run"
    )
    command.add_argument("--html", type=Path, metavar="PATH", help="write the one FILE as a page of HTML instead")
    add_store(command)


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the runs, or write a page; 0. Raises StateError for a file that cannot be used, or not be written."""
    if chosen.html and len(chosen.files) > 1:
        raise SettingsError(f"--html with {len(chosen.files)} files", next_step="name one FILE per page")
    documents = [(path, read_document(path)) for path in chosen.files]
    runs = [(path, document, measured(document, place=str(path))) for path, document in documents]
    if chosen.html:
        _write_run(chosen.html, runs[0], store_of(chosen, settings), settings)
    if chosen.json:
        say_json({"runs": [_json(path, document, found) for path, document, found in runs]})
    elif chosen.html:
        say([f"kina report: {chosen.html}"])
    else:
        _say(runs)
    return 0


def _say(runs: Sequence[_Run]) -> None:
    for path, document, found in runs:
        say([f"{path}: {_heading(found)}", *_rows(found), *_verdicts(document, path), ""])


def _write_run(path: Path, one: _Run, store: Path, settings: Settings) -> None:
    from pytest_kina.examination import remembered
    from pytest_kina.html import page

    source, document, run = one
    history = load(store, run.machine).before(run.run)
    rules = Rules(samples=settings.gate_samples, require_baseline=settings.require_baseline)
    content = page(remembered(document, run, history, _said(document, source) or judge(run, history, rules)))
    write_page(path, content)


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
    judgement = _said(document, path)
    why = _gate(document).get("why")
    return [] if judgement is None else [*lines(judgement, "warn"), *([str(why)] if why else [])]


def _said(document: Mapping[str, Any], path: Path) -> Judgement | None:
    """What the gate said of the run when it ended; None for a run without the gate."""
    gate = _gate(document)
    if "verdicts" not in gate:
        return None
    try:
        verdicts = tuple(Verdict.from_json(one) for one in gate["verdicts"])
        notes = tuple(map(str, gate.get("notes", ())))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path}: what the gate said cannot be read: {error}", path=path) from error
    return Judgement(machine=str(document["kina"]["machine_key"]), verdicts=verdicts, notes=notes)


def _gate(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stored run has it under ``gate``, a file of ``--kina-bench-json`` beside the figures."""
    kina = document["kina"]
    stored = kina.get("gate")
    return stored if isinstance(stored, dict) else kina


def _json(path: Path, document: Mapping[str, Any], run: Measurements) -> dict[str, Any]:
    judgement = _said(document, path)
    stats = {row["fullname"]: row["stats"] for row in document["benchmarks"]}
    return {
        "file": str(path),
        "run": run.run,
        "machine": run.machine,
        "commit": run.commit,
        "incomplete": list(run.incomplete),
        "series": stats,
        "gate": None if judgement is None else judgement.to_json(),
    }
