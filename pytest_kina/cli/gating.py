"""Judge runs by their budgets and by the history, from files of ``--kina-bench-json``.

Every file is a run of its own. Exit codes: 0 fine, 1 a series regressed or is over its budget, 2 no usable data.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.stored import add_store, store_of
from pytest_kina.errors import SettingsError, StateError
from pytest_kina.gate import (
    Judgement,
    Measurements,
    Rules,
    confirm,
    exit_code,
    judge,
    lines,
    load,
    measured,
    on_default_branch,
    promotion,
    read_document,
    save,
)
from pytest_kina.gate.rules import LEAST_SAMPLES
from pytest_kina.settings import Settings

HELP = "judge runs by their budgets and by the history"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file of --kina-bench-json")
    command.add_argument("--confirm", type=Path, metavar="FILE", help="a second measuring of the one FILE")
    command.add_argument(
        "--samples", type=int, metavar="N", help="samples wanted per series (default: gate_samples, 5)"
    )
    command.add_argument("--require-baseline", action="store_true", help="fail series that have no earlier runs")
    command.add_argument("--save", action="store_true", help="add runs of the default branch whose tests passed")
    add_store(command)


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the judgement of each file and return the gravest exit code; a file that cannot be used is said and 2."""
    if chosen.confirm and len(chosen.files) > 1:
        raise SettingsError(f"--confirm with {len(chosen.files)} files", next_step="judge one FILE with --confirm")
    if chosen.samples is not None and chosen.samples < LEAST_SAMPLES:
        raise SettingsError(f"--samples {chosen.samples}: below {LEAST_SAMPLES} nothing fails", next_step="raise it")
    codes, documents = [], []
    for path in chosen.files:
        try:
            judgement, stored = _judged(path, chosen, settings)
            codes.append(exit_code(judgement, "fail"))
            documents.append({"file": str(path), "stored": stored, **judgement.to_json()})
            said = [*lines(judgement, "fail"), *([stored] if stored else [])]
        except StateError as error:
            codes.append(2)
            documents.append({"file": str(path), "error": str(error)})
            said = [f"no usable data: {error}"]
        if not chosen.json:
            say([*([f"{path}:"] if len(chosen.files) > 1 else []), *said])
    if chosen.json:
        say_json({"runs": documents})
    return 1 if 1 in codes else max(codes)


def _judged(path: Path, chosen: argparse.Namespace, settings: Settings) -> tuple[Judgement, str]:
    document = read_document(path)
    measurements = measured(document, place=str(path))
    store = store_of(chosen, settings)
    history = load(store, measurements.machine)
    required = chosen.require_baseline or settings.require_baseline
    rules = Rules(samples=chosen.samples or settings.gate_samples, require_baseline=required)
    judgement = judge(measurements, history, rules)
    if chosen.confirm and judgement.verdicts:
        again = measured(read_document(chosen.confirm), place=str(chosen.confirm))
        _refuse_other_kind(measurements, again)
        judgement = confirm(judgement, again, history, rules, other_runner=again.node != measurements.node)
    return judgement, _saved(store, document, measurements, judgement) if chosen.save else ""


def _refuse_other_kind(first: Measurements, again: Measurements) -> None:
    if first.machine != again.machine:
        raise StateError(
            f"--confirm was measured on machine {again.machine}, the run on {first.machine}",
            next_step="measure again on a machine of the same kind",
        )
    if first.run == again.run:
        raise StateError("--confirm holds the same run", next_step="measure again, with another --kina-bench-json")


def _saved(store: Path, document: dict[str, Any], run: Measurements, judgement: Judgement) -> str:
    branch = on_default_branch(run, os.environ, Path.cwd())
    decision = promotion(run, judgement, green=True, default_branch=branch)
    if not decision.store:
        return decision.why
    return f"{decision.why}: {save(store, document, judgement, decision)}"
