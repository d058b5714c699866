"""The rule: one run's series against their budgets and their baseline of earlier runs.

The run is the unit, not the sample: cluster starts vary more between runs than within one, so that a significance
test of samples finds a "difference" between most pairs of equal runs. A run's median regressed when it is above the
99 % log-t prediction limit of the baseline's medians, and more than 20 % above their median, and above it by a floor
in seconds. ``docs/gate.md`` has the error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_kina.gate import inference
from pytest_kina.gate.cautions import warnings_of
from pytest_kina.gate.history import History, comparable
from pytest_kina.gate.measurements import Measurements, SeriesSamples
from pytest_kina.gate.rules import (
    LEARNING_RATIO,
    LEAST_SAMPLES,
    LEAST_SPREAD,
    NEVER_GATED,
    UNSTABLE_VARIATION,
    Rules,
    floor,
)
from pytest_kina.gate.slowness import slowness, spared
from pytest_kina.gate.verdicts import Judgement, Name, Numbers, Verdict
from pytest_kina.gate.wording import percent, seconds

_CYCLE = frozenset({"create", "startup", "kubectl_ready", "ready", "delete"})
_MADE = frozenset({"fresh", "template"})


@dataclass(frozen=True, slots=True)
class _Case:
    """One series with what it is judged by."""

    series: SeriesSamples
    baseline: tuple[SeriesSamples, ...]
    numbers: Numbers
    lower: float
    rules: Rules


def judge(run: Measurements, history: History, rules: Rules) -> Judgement:
    """One verdict per gated series of ``run``, and ``MISSING`` ones when the run was complete and unfiltered."""
    gated = [series for series in run.series if series.phase not in NEVER_GATED]
    if run.incomplete:
        return _incomplete(run, gated, history)
    verdicts = [_verdict(series, history, rules) for series in gated]
    excuses = {verdict.series: _excuse(verdict, verdicts, rules) for verdict in verdicts}
    verdicts = [_excused(verdict, slow) if (slow := excuses[verdict.series]) else verdict for verdict in verdicts]
    slow = max((one for one in excuses.values() if one), default=None)
    missing = [] if run.partial else _missing(run, history, rules)
    notes = _notes(run, gated, history, rules, slow)
    return Judgement(machine=run.machine, verdicts=(*verdicts, *missing), notes=notes, slow=slow)


def short(run: Measurements, rules: Rules) -> dict[str, int]:
    """How many samples each series lacks that one more create → ready → delete cycle would lengthen by one.

    Such a cycle runs alone. So what was made beside others asks for samples of the same kind of cluster made alone:
    each kind is judged in at least one series.
    """
    lacking: dict[str, int] = {}
    for one in run.series:
        if _of_a_cycle(one):
            here = len(one.seconds) if one.concurrency == "1" else 0
            lacking[one.alone] = min(rules.samples - here, lacking.get(one.alone, rules.samples))
    return {name: count for name, count in lacking.items() if count > 0}


def _of_a_cycle(series: SeriesSamples) -> bool:
    return series.phase in _CYCLE and (series.start in _MADE or series.phase == "delete")


def _judged_in_its_own_right(series: SeriesSamples) -> bool:
    return series.concurrency == "1" and _of_a_cycle(series)


def numbers_of(series: SeriesSamples, baseline: Sequence[SeriesSamples], rules: Rules) -> tuple[Numbers, float]:
    """The figures of a series, and the limit below which it would be an improvement (0 without a baseline)."""
    own = Numbers(
        n=len(series.seconds),
        median=inference.median(series.seconds) if series.seconds else None,
        cv=inference.variation(series.seconds) if series.seconds else None,
        baseline_runs=len(baseline),
        budget=rules.budget(series.provider, series.phase),
        failures=series.failures,
    )
    if not baseline or own.median is None:
        return own, 0.0
    medians = [inference.median(one.seconds) for one in baseline]
    usual = inference.median(medians)
    known = replace(
        own,
        baseline=usual,
        ratio=max(own.median, inference.TINY) / max(usual, inference.TINY),
        floor=floor(series.provider, usual),
    )
    if len(medians) < max(rules.enforce, 2):
        return known, 0.0
    lower, upper = inference.prediction_limits(medians, LEAST_SPREAD)
    return replace(known, limit=upper), lower


def regressed(numbers: Numbers, rules: Rules) -> bool:
    """Above the limit, by more than the ratio, and by more than the floor; False where there is no limit."""
    median, usual, least = numbers.median, numbers.baseline, numbers.floor
    if numbers.limit is None or numbers.ratio is None or median is None or usual is None or least is None:
        return False
    return median > numbers.limit and numbers.ratio > rules.ratio and median - usual > least


def _verdict(series: SeriesSamples, history: History, rules: Rules) -> Verdict:
    baseline = history.baseline(series, rules.window)
    numbers, lower = numbers_of(series, baseline, rules)
    case = _Case(series, baseline, numbers, lower, rules)
    name, reason = _named(case, history)
    absent = name in (Name.NEW, Name.NOT_COMPARABLE)
    if rules.require_baseline and name is Name.TOO_FEW and not baseline and _judged_in_its_own_right(series):
        absent, reason = True, f"{reason}; there is no baseline, which is required"
    return Verdict(
        series=series.fullname,
        phase=series.phase,
        provider=series.provider,
        name=name,
        reason=reason,
        fails=name in (Name.REGRESSED, Name.OVER_BUDGET) or (absent and rules.require_baseline),
        warnings=warnings_of(series, baseline, history.baseline(series, None), numbers),
        numbers=numbers,
    )


def _named(case: _Case, history: History) -> tuple[Name, str]:
    """The first verdict that applies, the grave ones first."""
    numbers, rules = case.numbers, case.rules
    if numbers.n < LEAST_SAMPLES or numbers.median is None:
        least = f"{numbers.n} sample{'s' * (numbers.n != 1)}, at least {LEAST_SAMPLES} are needed to judge at all"
        return Name.TOO_FEW, least + _instead(case.series)
    if numbers.budget is not None and numbers.median > numbers.budget:
        return Name.OVER_BUDGET, f"median {seconds(numbers.median)}, the budget is {seconds(numbers.budget)}"
    if not case.baseline:
        return _without_baseline(case.series, history)
    if regressed(numbers, rules):
        return Name.REGRESSED, _compared(numbers)
    if numbers.n < rules.samples:
        return Name.TOO_FEW, f"{numbers.n} samples of {rules.samples}; {_compared(numbers)}{_instead(case.series)}"
    if numbers.limit is None:
        return Name.LEARNING, _learning(numbers, rules)
    if numbers.cv is not None and numbers.cv > UNSTABLE_VARIATION:
        return Name.UNSTABLE, f"samples vary by {numbers.cv:.0%} within the run; {_compared(numbers)}"
    if _improved(case):
        return Name.IMPROVED, f"{_compared(numbers)}; if that is meant to stay, accept it as the new baseline"
    return Name.OK, _compared(numbers) + _tolerated(numbers, rules)


def _tolerated(numbers: Numbers, rules: Rules) -> str:
    """Why a median above its limit is no regression."""
    if not numbers.above_limit or numbers.ratio is None or numbers.floor is None:
        return ""
    if numbers.ratio <= rules.ratio:
        return f"; above the limit, but by no more than {rules.ratio - 1:.0%} of what is usual"
    return f"; above the limit, but by no more than {seconds(numbers.floor)}, the least difference that counts here"


def _instead(series: SeriesSamples) -> str:
    """Why no further clusters were measured for this series, where that is never done."""
    if _judged_in_its_own_right(series) or not _of_a_cycle(series):
        return ""
    return f"; made beside other clusters, while further ones are made alone, as {series.alone.removeprefix('kina::')}"


def _improved(case: _Case) -> bool:
    median, usual, least = case.numbers.median, case.numbers.baseline, case.numbers.floor
    if median is None or usual is None or least is None:
        return False
    return median < case.lower and usual > median * case.rules.ratio and usual - median > least


def _compared(numbers: Numbers) -> str:
    median, usual, ratio = numbers.median, numbers.baseline, numbers.ratio
    if median is None or usual is None or ratio is None:
        return f"{numbers.n} samples"
    of = f"of {numbers.baseline_runs} run{'' if numbers.baseline_runs == 1 else 's'}"
    text = f"median {seconds(median)}, {percent(ratio)} against {seconds(usual)} {of}"
    return f"{text} (limit {seconds(numbers.limit)})" if numbers.limit is not None else text


def _learning(numbers: Numbers, rules: Rules) -> str:
    text = f"{_compared(numbers)}; failing begins at {rules.enforce} runs"
    if numbers.ratio is not None and numbers.ratio > LEARNING_RATIO:
        return f"{text}. This is much slower than before"
    return text


def _without_baseline(series: SeriesSamples, history: History) -> tuple[Name, str]:
    earlier = history.earlier(series)
    if any(comparable(one, series) for one in earlier):
        return (
            Name.NEW,
            f"all {len(earlier)} earlier runs have fewer than {LEAST_SAMPLES} samples of it, and do not count",
        )
    if earlier:
        last = earlier[-1]
        was, now = (
            f"provider version {one.provider_minor or '?'}{one.runtime and f' on {one.runtime}'}, "
            f"series version {one.version}"
            for one in (last, series)
        )
        return Name.NOT_COMPARABLE, f"earlier runs were measured with {was}; this one with {now}"
    if not history.runs and history.others:
        others = ", ".join(history.others)
        return Name.NOT_COMPARABLE, f"the store has no run of machine {history.machine}, only of {others}"
    if epoch := history.epoch(series.fullname):
        return Name.NEW, f"a new baseline begins, since {epoch.reason!r} was accepted at {epoch.number:04d}"
    return Name.NEW, "no earlier run has this series"


def _excuse(verdict: Verdict, verdicts: Sequence[Verdict], rules: Rules) -> float | None:
    """How slow the machine was, when that alone explains a regression."""
    slow = slowness(verdict, verdicts, rules) if verdict.name is Name.REGRESSED else None
    return None if slow is None or regressed(spared(verdict.numbers, slow), rules) else slow


def _excused(verdict: Verdict, slow: float) -> Verdict:
    why = f"a warning only, because the machine looks slow: most other phases took {percent(slow)} or more"
    return replace(verdict, fails=False, reason=f"{verdict.reason}; {why}")


def _incomplete(run: Measurements, gated: Sequence[SeriesSamples], history: History) -> Judgement:
    why = "; ".join(run.incomplete)
    verdicts = [
        Verdict(
            series=one.fullname,
            phase=one.phase,
            provider=one.provider,
            name=Name.INCOMPLETE,
            reason=f"not judged: {why}",
            numbers=Numbers(n=len(one.seconds), failures=one.failures),
        )
        for one in gated
    ]
    note = f"the run is incomplete, so nothing is judged and nothing is stored: {why}"
    return Judgement(machine=run.machine, verdicts=tuple(verdicts), notes=(note, *history.problems))


def _missing(run: Measurements, history: History, rules: Rules) -> list[Verdict]:
    """Series that most of the last runs had and this one has not."""
    present = {one.fullname for one in run.series}
    last = [stored for stored in history.runs if stored.accepted][-rules.window :]
    known = {name: one for stored in last for name, one in stored.series.items() if one.phase not in NEVER_GATED}
    counts = {name: sum(name in stored.series for stored in last) for name in known if name not in present}
    return [
        Verdict(
            series=name,
            phase=known[name].phase,
            provider=known[name].provider,
            name=Name.MISSING,
            reason=f"{count} of the last {len(last)} runs measured it, this one did not",
        )
        for name, count in sorted(counts.items())
        if 2 * count > len(last)
    ]


def _notes(
    run: Measurements, gated: Sequence[SeriesSamples], history: History, rules: Rules, slow: float | None
) -> tuple[str, ...]:
    enough = {one.fullname for one in gated if len(one.seconds) >= rules.samples}
    few = sum(one.fullname not in enough and one.alone not in enough for one in gated)
    possible = {
        f"{few} of {len(gated)} series have fewer than {rules.samples} samples: a regression of these can pass": few,
        f"nothing was measured, so nothing can fail on machine {run.machine}": not gated,
        f"the history has no run of machine {run.machine}; it has: {', '.join(history.others)}": (
            not history.runs and history.others
        ),
        f"the machine looks slow, by about {percent(slow or 1)}: measure again on another machine to be sure": slow,
    }
    return (*(note for note, holds in possible.items() if holds), *history.problems)
