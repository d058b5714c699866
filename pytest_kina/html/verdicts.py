"""The table of verdicts, with the reasons of those that are not simply fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.gate import Name, Verdict
from pytest_kina.gate.wording import percent, seconds
from pytest_kina.html.svg import escaped, table

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

_HEADINGS = ("verdict", "series", "n", "median", "baseline", "change", "limit", "budget")
_GOOD = (Name.OK, Name.IMPROVED)


def css_of(verdict: Verdict) -> str:
    """``bad``, ``good``, or ``warn`` for what is neither."""
    return "bad" if verdict.fails else "good" if verdict.name in _GOOD else "warn"


def verdicts(outcome: Outcome) -> str:
    """The table, what failed first; without verdicts nothing."""
    ordered = sorted(outcome.judgement.verdicts, key=lambda verdict: not verdict.fails)
    if not ordered:
        return ""
    reasons = [(one, one.reason) for one in ordered if one.name is not Name.OK]
    reasons += [(one, f"warning: {text}") for one in ordered for text in one.warnings]
    listed = "".join(f"<li><code>{escaped(one.series)}</code>: {escaped(text)}</li>" for one, text in reasons)
    return table(_HEADINGS, [_row(one) for one in ordered], left=2) + (f"<ul>{listed}</ul>" if listed else "")


def _row(verdict: Verdict) -> list[str]:
    numbers = verdict.numbers
    durations = (numbers.median, numbers.baseline, numbers.limit, numbers.budget)
    median, baseline, limit, budget = ("" if value is None else seconds(value) for value in durations)
    change = "" if numbers.ratio is None else percent(numbers.ratio)
    name = f'<span class="v {css_of(verdict)}">{verdict.name}</span>'
    series = f"<code>{escaped(verdict.series.removeprefix('kina::'))}</code>"
    return [name, series, str(numbers.n), median, baseline, change, limit, budget]
