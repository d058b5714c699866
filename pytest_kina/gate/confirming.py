"""The second look: what failed is measured again, and only what fails twice fails the run."""

from __future__ import annotations

from dataclasses import replace

from pytest_kina.gate.history import History
from pytest_kina.gate.judging import judge
from pytest_kina.gate.measurements import Measurements
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
    time for measuring again must not pass for that. With ``other_runner`` (``again`` comes from another machine of
    the same kind) a regression that was forgiven because the machine looked slow fails if it shows there too.
    """
    second = {verdict.series: verdict for verdict in judge(again, history, rules).verdicts}
    suspects = set(first.candidates)
    if other_runner:
        suspects |= {verdict.series for verdict in first.verdicts if verdict.name is Name.REGRESSED}
    verdicts = [
        _confirmed(verdict, second.get(verdict.series)) if verdict.series in suspects else verdict
        for verdict in first.verdicts
    ]
    return replace(first, verdicts=tuple(verdicts))


def _confirmed(verdict: Verdict, again: Verdict | None) -> Verdict:
    if again is None or again.numbers.median is None or again.numbers.n < LEAST_SAMPLES:
        count = again.numbers.n if again else 0
        return replace(verdict, reason=f"{verdict.reason}; not confirmed: only {count} samples could be measured again")
    measured = f"measured again, {again.numbers.n} samples: {seconds(again.numbers.median)}"
    if again.name in _GRAVE:
        return replace(verdict, fails=True, reason=f"{verdict.reason}; confirmed, {measured}")
    return replace(
        verdict,
        name=Name.UNSTABLE,
        fails=False,
        reason=f"{verdict.reason}; not confirmed, {measured}",
    )
