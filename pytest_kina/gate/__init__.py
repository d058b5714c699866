"""The gate tells whether a run's performance stands up to its budgets and to the runs before it.

Pure functions over documents, history files and numbers. It knows neither pytest nor pool, providers or locks, so
the command line, the plugin and other people's programs call the same code. All times are seconds.

The way of a run::

    document = report.benchmark_json.document(timings, project)     # "kina" holds machine_key, complete, partial, …
    run      = gate.measured(document, place="this run")            # Measurements
    history  = gate.load(store, run.machine)                        # History; unusable files are in .problems
    verdict  = gate.judge(run, history, rules)                      # Judgement
    if verdict.candidates:                                          # fullnames of the series to measure again
        verdict = gate.confirm(verdict, again, history, rules)      # again: Measurements of the second measuring
    code     = gate.exit_code(verdict, mode)                        # 0 fine, 1 regressed or over budget, 2 no data
    decision = gate.promotion(run, verdict, green=…, default_branch=…)
    if decision.store:
        path = gate.save(store, document, verdict, decision)

Signatures::

    measurements   measured(document: Mapping[str, Any], *, place: str) -> Measurements          raises StateError
                   read_document(path: Path) -> dict[str, Any]                                   raises StateError
                   merge(runs: Sequence[Measurements]) -> Measurements    samples of equal series joined
                   alone(fullname: str) -> str    the series of the same kind, measured beside no other cluster
                   Measurements(machine, run, commit, branch, time, incomplete: tuple[str, ...],
                       partial: tuple[str, ...], series: tuple[SeriesSamples, ...])
                   SeriesSamples(fullname, phase, provider, provider_minor, version, seconds: tuple[float, ...],
                       failures: int)
    history        load(store: Path, machine: str) -> History                    never raises for a bad file
                   save(store: Path, document: Mapping[str, Any], judgement: Judgement, decision: Promotion) -> Path
                                                                                                 raises StateError
                   accept(store: Path, machine: str, series: str, reason: str) -> Path           raises StateError
                   History(machine, runs: tuple[StoredRun, ...], epochs, problems: tuple[str, ...],
                       others: tuple[str, ...])    others: machine keys in the store that are not this one
                   history.baseline(series: SeriesSamples, window: int) -> tuple[SeriesSamples, ...]
    rules          Rules(samples=5, window=10, enforce=5, ratio=1.20, require_baseline=False,
                       budgets: Mapping[str, Mapping[str, float]] = BUDGETS)    budgets[provider][phase], "" = others
    verdicts       Verdict(series, phase, provider, name: Name, fails: bool, reason: str, warnings: tuple[str, ...],
                       numbers: Numbers);   Name is a StrEnum: OK IMPROVED REGRESSED OVER-BUDGET UNSTABLE LEARNING
                       NEW MISSING NOT-COMPARABLE INCOMPLETE TOO-FEW
                   Numbers(n, median, cv, baseline_runs, baseline, limit, ratio, floor, budget, failures)
                       None where not known; Verdict.to_json(), Verdict.from_json(document)
                   Judgement(machine, verdicts: tuple[Verdict, ...], notes: tuple[str, ...], slow: float | None)
                       .candidates: tuple[str, ...]   .failed: bool   .usable: bool   .to_json()
    judging        judge(run: Measurements, history: History, rules: Rules) -> Judgement
                   short(run: Measurements, rules: Rules) -> dict[str, int]   fullname -> samples still missing, for
                       series that a create -> ready -> delete cycle can top up
    confirming     confirm(first: Judgement, again: Measurements, history: History, rules: Rules, *,
                       other_runner: bool = False) -> Judgement
    outcome        exit_code(judgement: Judgement, mode: Literal["off", "warn", "fail"]) -> int
                   promotion(run, judgement, *, green: bool, default_branch: bool) -> Promotion
                   Promotion(store: bool, accepted: bool, why: str)
                   on_default_branch(run: Measurements, environ: Mapping[str, str], directory: Path) -> bool
    text           lines(judgement: Judgement, mode: str) -> list[str]      table and sentences for a terminal

    side by side   compare(base: Measurements, head: Measurements, *, ratio: float = 1.5) -> Comparison
                   comparison_lines(comparison: Comparison) -> list[str]

What a document must have beyond pytest-benchmark's shape: ``kina.machine_key`` (``report.machine_key.machine_key``),
``kina.complete``, ``kina.incomplete``, ``kina.partial`` (why not all tests were selected, like ``["-k smoke"]``; the
caller that knows adds it), ``kina.failures``.

A *candidate* is a verdict that fails and has been measured once. What could not be measured again keeps failing, and
its reason says so. ``kina.events`` is not kept in stored files.
"""

from __future__ import annotations

from pytest_kina.gate.comparing import Comparison, Pair, compare, comparison_lines
from pytest_kina.gate.confirming import confirm
from pytest_kina.gate.history import Epoch, History, StoredRun, accept, load, save
from pytest_kina.gate.judging import judge, short
from pytest_kina.gate.measurements import Measurements, SeriesSamples, alone, measured, merge, read_document
from pytest_kina.gate.promotion import Promotion, on_default_branch, promotion
from pytest_kina.gate.rules import BUDGETS, Rules
from pytest_kina.gate.text import lines, outcome
from pytest_kina.gate.verdicts import Judgement, Mode, Name, Numbers, Verdict, exit_code

__all__ = [
    "BUDGETS",
    "Comparison",
    "Epoch",
    "History",
    "Judgement",
    "Measurements",
    "Mode",
    "Name",
    "Numbers",
    "Pair",
    "Promotion",
    "Rules",
    "SeriesSamples",
    "StoredRun",
    "Verdict",
    "accept",
    "alone",
    "compare",
    "comparison_lines",
    "confirm",
    "exit_code",
    "judge",
    "lines",
    "load",
    "measured",
    "merge",
    "on_default_branch",
    "outcome",
    "promotion",
    "read_document",
    "save",
    "short",
]
