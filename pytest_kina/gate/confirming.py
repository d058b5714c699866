"""The second look: what failed is measured again, and only what fails twice fails the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_kina.gate.history import History
from pytest_kina.gate.judging import judge
from pytest_kina.gate.measurements import Measurements, alone
from pytest_kina.gate.rules import LEAST_SAMPLES, Rules
from pytest_kina.gate.verdicts import Judgement, Name, Verdict
from pytest_kina.gate.wording import seconds

_GRAVE = (Name.REGRESSED, Name.OVER_BUDGET)


def confirm(
    first: Judgement, again: Measurements, history: History, rules: Rules, *, other_runner: bool = False
) -> Judgement:
    """The first judgement, with every candidate confirmed by ``again`` or acquitted.

    A candidate that failed for the same or a graver reason again is confirmed; one that did not is ``UNSTABLE`` and
    does not fail. What ``again`` lacks (or has fewer than 3 samples of) keeps failing: a regression that eats up the
    time for measuring again must not pass for that. Further clusters are made alone, so for a regression beside other
    clusters that ``again`` lacks, the same series alone speaks, if it has a limit to be held against.

    With ``other_runner`` (``again`` comes from another machine of the same kind) a regression that was forgiven because
    the machine looked slow fails if it shows there too.
    """
    second = {verdict.series: verdict for verdict in judge(again, history, rules).verdicts}
    suspects = set(first.candidates)
    if other_runner:
        suspects |= {verdict.series for verdict in first.verdicts if verdict.name is Name.REGRESSED}
    verdicts = [
        _confirmed(verdict, _second(verdict, second)) if verdict.series in suspects else verdict
        for verdict in first.verdicts
    ]
    return replace(first, verdicts=tuple(verdicts))


def _second(verdict: Verdict, second: Mapping[str, Verdict]) -> Verdict | None:
    """What the second measuring says about the series; of a budget for clusters beside others only itself can tell."""
    own, instead = second.get(verdict.series), second.get(alone(verdict.series))
    if own is not None and own.numbers.n >= LEAST_SAMPLES:
        return own
    speaks = verdict.name is Name.REGRESSED and instead is not None and instead.numbers.limit is not None
    return instead if speaks else own


def _confirmed(verdict: Verdict, again: Verdict | None) -> Verdict:
    if again is None or again.numbers.median is None or again.numbers.n < LEAST_SAMPLES:
        count = again.numbers.n if again else 0
        return replace(verdict, reason=f"{verdict.reason}; not confirmed: only {count} samples could be measured again")
    place = "" if again.series == verdict.series else ", alone"
    measured = f"measured again{place}, {again.numbers.n} samples: {seconds(again.numbers.median)}"
    if again.name in _GRAVE:
        return replace(verdict, fails=True, reason=f"{verdict.reason}; confirmed, {measured}")
    return replace(
        verdict,
        name=Name.UNSTABLE,
        fails=False,
        reason=f"{verdict.reason}; not confirmed, {measured}",
    )
