"""Examined runs made of imaginary events, judged by the real gate: what reports are drawn and written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kina import gate
from pytest_kina.examination import Outcome
from pytest_kina.metrics.budgets import findings
from pytest_kina.metrics.samples import Metric
from pytest_kina.report.benchmark_json import document
from pytest_kina.report.summary import RunTimings
from pytest_kina.timing import Phase, TimingEvent

SECONDS = {Phase.CREATE: 1.0, Phase.STARTUP: 1.5, Phase.KUBECTL_READY: 0.02, Phase.DELETE: 0.15}
MIB = 1024 * 1024


def event(phase: Phase, seconds: float, number: int = 0, **fields: Any) -> TimingEvent:
    """One event of the cluster with that number, on one of two xdist workers."""
    known: dict[str, Any] = {
        "id": f"{phase}-{number}-{fields.get('t0', 0)}",
        "run": "r1",
        "t0": 1_700_000_000.0 + 4 * number,
        "worker": f"gw{number % 2}",
        "cluster": f"kina-0-{number}-ab",
        "provider": "embedded",
        "provider_version": "0.1.0",
        "kubernetes": "v1.36.3",
        "profile": "workloads",
        "nodes": 1,
    }
    return TimingEvent(phase=phase, seconds=seconds, **(known | fields))


def life(number: int, factor: float = 1.0, **fields: Any) -> list[TimingEvent]:
    """The events of a cluster from its creation to its end; ``factor`` is how much slower creating it was."""
    begin, found = 1_700_000_000.0 + 4 * number, []
    for phase, usual in SECONDS.items():
        seconds = usual * (1 + number / 100) * (factor if phase is Phase.CREATE else 1)
        found.append(event(phase, seconds, number, t0=begin, **fields))
        begin += seconds
    return found


def lives(count: int, factor: float = 1.0, **fields: Any) -> list[TimingEvent]:
    """The events of so many clusters."""
    return [one for number in range(count) for one in life(number, factor, **fields)]


def metrics() -> list[Metric]:
    """A cluster that was leased and given back after many quick requests, and two processes of the run."""
    usage = {"processes": 6, "rss": 700 * MIB, "pss": 420 * MIB, "cpu_seconds": 3.5}
    cluster: dict[str, Any] = {"kind": "cluster", "name": "kina-0-0-ab", "worker": "gw0", "provider": "embedded"}
    return [
        Metric(when="ready", usage=usage, disk=80 * MIB, **cluster),
        Metric(when="release", usage=usage, disk=90 * MIB, requests=(0.004,) * 120, objects={"pods": 7}, **cluster),
        Metric(kind="process", name="gw0", when="end", worker="gw0", usage={"rss": 90 * MIB}, growth=30 * MIB),
        Metric(kind="process", name="gw1", when="end", worker="gw1", usage={"rss": 190 * MIB}, growth=70 * MIB),
    ]


def history(events: Sequence[TimingEvent], runs: int, tmp_path: Path) -> gate.History:
    """So many accepted runs like ``events``, saved and loaded like real ones."""
    for number in range(runs):
        whole = document(RunTimings(run=f"old{number}", events=events), tmp_path)
        run = gate.measured(whole, place="old")
        judged = gate.judge(run, gate.History(machine=run.machine), gate.Rules())
        gate.save(tmp_path / "store", whole, judged, gate.Promotion(store=True, accepted=True, why=""))
    return gate.load(
        tmp_path / "store", gate.measured(document(RunTimings(run="x", events=[]), tmp_path), place="x").machine
    )


def outcome(tmp_path: Path, events: Sequence[TimingEvent], *, runs: int = 0, **fields: Any) -> Outcome:
    """``events`` held against a history of that many ordinary runs."""
    timings = RunTimings(run="r1", events=events)
    whole = document(timings, tmp_path)
    run = gate.measured(whole, place="this run")
    past = history(lives(5), runs, tmp_path) if runs else gate.History(machine=run.machine)
    judged = gate.judge(run, past, gate.Rules())
    measured = tuple(fields.pop("metrics", metrics()))
    made = Outcome(
        timings=timings,
        document=whole,
        judgement=judged,
        history=past,
        metrics=measured,
        findings=tuple(findings(measured)),
    )
    return replace(made, **fields)
