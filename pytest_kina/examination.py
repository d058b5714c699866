"""The end of a run: more samples where there are too few, the gate's judgement, a second look, and the history.

What the plugin does with the gate, without pytest: what it needs to know of the session comes in as plain values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_kina import gate
from pytest_kina.cycles import cycle, measure_apart
from pytest_kina.errors import StateError
from pytest_kina.metrics import samples
from pytest_kina.metrics.budgets import Finding, findings
from pytest_kina.metrics.samples import Metric
from pytest_kina.report.benchmark_json import document
from pytest_kina.report.merge import Ledger
from pytest_kina.report.series import comparable
from pytest_kina.report.summary import RunTimings
from pytest_kina.run import Run
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingEvent
from pytest_kina.waiting import Deadline

_API = "kina::api_p95[{}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the gate must know of the run: its project, whether its tests passed, and what was left out of it.

    ``keeps``: whether a history may be begun where there is none.
    """

    project: Path
    store: Path
    green: bool
    partial: tuple[str, ...]
    keeps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out: the whole document of the run, the judgement, the history it was held against, and sentences."""

    timings: RunTimings
    document: Mapping[str, Any]
    judgement: gate.Judgement
    history: gate.History
    metrics: tuple[Metric, ...] = ()
    findings: tuple[Finding, ...] = ()
    said: tuple[str, ...] = ()
    unstored: bool = False
    again: gate.Measurements | None = field(default=None)


_How = tuple[ClusterSpec, bool]
"""Of what a cluster is made, and whether it starts without a template."""


def remembered(
    document: Mapping[str, Any], run: gate.Measurements, history: gate.History, judgement: gate.Judgement
) -> Outcome:
    """The outcome of a run that ended earlier, from its document; what the file does not have is left out."""
    kina = document["kina"]
    metrics = tuple(samples.parsed(kina.get("metrics")))
    ledger = Ledger()
    ledger.add_documents(kina.get("events"))
    return Outcome(
        timings=RunTimings(run=run.run, events=ledger.events, incomplete=run.incomplete),
        document=document,
        judgement=judgement,
        history=history,
        metrics=metrics,
        findings=tuple(findings(metrics)),
    )


class Examination:
    """Examines one run; ``timings`` collects everything measured so far, and may be called again."""

    def __init__(self, run: Run, session: Session, timings: Callable[[], RunTimings]) -> None:
        settings = run.settings
        self._run = run
        self._session = session
        self._timings = timings
        self._rules = gate.Rules(samples=settings.gate_samples, require_baseline=settings.require_baseline)
        self._budget = Deadline(settings.measuring_seconds)
        self._said: list[str] = []

    def outcome(self) -> Outcome:
        """Measure more if need be, judge, confirm, store. Raises :class:`~pytest_kina.errors.KinaError`."""
        timings = self._timings()
        metrics = tuple(samples.read(self._run.directory))
        specs = _specs(timings.events, metrics)
        if self._session.green and not timings.incomplete:
            timings = self._lengthened(timings, specs)
        whole = self._document(timings)
        measured = gate.measured(whole, place="this run")
        history = gate.load(self._session.store, measured.machine)
        judgement = gate.judge(measured, history, self._rules)
        again = self._again(judgement, specs) if not timings.incomplete else None
        if again is not None:
            judgement = gate.confirm(judgement, again, history, self._rules)
        found = tuple(findings(metrics))
        judgement = replace(judgement, verdicts=(*judgement.verdicts, *map(_verdict, _graves(found))))
        stored = self._store(whole, measured, judgement)
        return Outcome(
            timings=timings,
            document=whole,
            judgement=judgement,
            history=history,
            metrics=metrics,
            findings=found,
            said=tuple(self._said),
            unstored=not stored,
            again=again,
        )

    def _document(self, timings: RunTimings) -> dict[str, Any]:
        whole = document(timings, self._session.project)
        whole["kina"]["partial"] = list(self._session.partial)
        return whole

    def _measured(self, timings: RunTimings) -> gate.Measurements:
        return gate.measured(self._document(timings), place="this run")

    def _lengthened(self, timings: RunTimings, specs: Mapping[str, _How]) -> RunTimings:
        """The timings with what was measured after the tests; half of the time is left for measuring again."""
        missing = _by_kind(gate.short(self._measured(timings), self._rules))
        wanted: dict[_How, int] = {}
        for kind, count in missing.items():
            if how := specs.get(kind):  # one cycle lengthens the series of its deletion, too
                wanted[how] = max(count, wanted.get(how, 0))
        if not wanted or not self._budget.seconds:
            return timings
        half = Deadline(self._budget.seconds / 2)
        for (spec, fresh), count in wanted.items():
            done = cycle(self._run, spec, count, half, fresh=fresh)
            why = f"; {done.ended}" if done.ended else ""
            self._said.append(f"measured {done.done} of {count} further clusters in {done.seconds:.1f} s{why}")
        return self._timings()

    def _again(self, judgement: gate.Judgement, specs: Mapping[str, _How]) -> gate.Measurements | None:
        kinds = [_kind(gate.alone(name)) for name in judgement.candidates]
        wanted = list(dict.fromkeys(specs[kind] for kind in kinds if kind in specs))
        if not wanted or self._budget.expired:
            return None
        self._said.append(f"measured again, because of {', '.join(judgement.candidates)}")
        events = measure_apart(self._run, wanted, self._rules.samples, self._budget)
        return self._measured(RunTimings(run=f"{self._run.ticket.run}-again", events=events))

    def _store(self, whole: Mapping[str, Any], measured: gate.Measurements, judgement: gate.Judgement) -> bool:
        """Store the run where it belongs into the history; False when it should have been and could not be."""
        session = self._session
        decision = gate.promotion(
            measured,
            judgement,
            green=session.green,
            default_branch=gate.on_default_branch(measured, os.environ, session.project),
        )
        if decision.store and not (session.keeps or session.store.is_dir()):
            self._said.append(f"not stored: {session.store} does not exist (outside CI, make it to begin a history)")
            return True
        if not decision.store:
            self._said.append(decision.why)
            return True
        try:
            path = gate.save(session.store, whole, judgement, decision)
        except StateError as error:
            self._said.append(f"not stored: {error}")
            return False
        self._said += [decision.why, f"history: {path}"]
        return True


def _specs(events: Sequence[TimingEvent], metrics: Sequence[Metric]) -> dict[str, _How]:
    """How to make a cluster alone, of each kind that this run has made (the part of a series' name in brackets)."""
    by_cluster = {one.name: one.spec for one in metrics if one.kind == "cluster" and one.spec}
    created = (event for event in events if event.phase is Phase.CREATE and event.ok and not event.first_pull)
    made = [event for event in created if event.cluster in by_cluster]
    kinds: dict[str, _How] = {}
    for event in made:
        # Of a deletion it is not recorded how its cluster had started, so any cluster of the kind will do.
        kinds.setdefault(_kind_of(event, phase=Phase.DELETE, start="fresh"), _how(event, by_cluster))
    for event in made:
        kinds[_kind_of(event)] = _how(event, by_cluster)
    return kinds


def _how(event: TimingEvent, specs: Mapping[str, Mapping[str, Any]]) -> _How:
    return ClusterSpec.from_json(specs[event.cluster]), event.start == "fresh"


def _kind_of(event: TimingEvent, **changed: Any) -> str:
    """The kind of such a cluster when it is made alone, as whatever was made beside others can be."""
    return comparable([replace(event, concurrency=1, **changed)])[0].key.kind


def _by_kind(missing: Mapping[str, int]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for name, count in missing.items():
        kinds[_kind(name)] = max(count, kinds.get(_kind(name), 0))
    return kinds


def _kind(fullname: str) -> str:
    return fullname.partition("[")[2].removesuffix("]")


def _graves(found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if one.grave and one.over is not None]


def _verdict(finding: Finding) -> gate.Verdict:
    name = gate.Name.OVER_BUDGET if finding.over else gate.Name.OK
    return gate.Verdict(
        series=_API.format(finding.provider),
        phase=finding.name,
        provider=finding.provider,
        name=name,
        reason=finding.reason,
        fails=bool(finding.over),
        numbers=gate.Numbers(n=finding.n, budget=finding.limit),
    )
