"""A judgement as lines of text for a terminal, the grave verdicts first."""

from __future__ import annotations

from pytest_kina.gate.verdicts import Judgement, Mode, Name, Verdict
from pytest_kina.gate.wording import percent, seconds, table

_HEADINGS = ("verdict", "series", "n", "median", "baseline", "change", "limit", "budget")
_QUIET = (Name.OK, Name.INCOMPLETE)  # a note says what is incomplete


def lines(judgement: Judgement, mode: Mode) -> list[str]:
    """A table with a row per series, then each reason once, warnings, notes, and what it means for the run."""
    ordered = sorted(judgement.verdicts, key=lambda verdict: not verdict.fails)
    rows = table([_HEADINGS, *(_cells(verdict) for verdict in ordered)], left=2) if ordered else []
    alike: dict[tuple[str, str], list[str]] = {}
    for one in ordered:
        if one.fails or one.name not in _QUIET or one.numbers.above_limit:
            alike.setdefault((one.name, one.reason), []).append(one.series)
    reasons = [f"{name}: {', '.join(series)}: {reason}" for (name, reason), series in alike.items()]
    warnings = [f"warning: {one.series}: {warning}" for one in ordered for warning in one.warnings]
    return [*rows, *reasons, *warnings, *(f"note: {note}" for note in judgement.notes), outcome(judgement, mode)]


def outcome(judgement: Judgement, mode: Mode) -> str:
    """One sentence: what the gate did."""
    bad = [verdict.series for verdict in judgement.verdicts if verdict.fails]
    if bad:
        effect = "FAILED" if mode == "fail" else "would fail (mode warn)"
        return f"gate {effect}: {len(bad)} of {len(judgement.verdicts)} series: {', '.join(bad)}"
    if not judgement.usable:
        return "gate: nothing could be judged"
    unjudged = sum(verdict.name is Name.INCOMPLETE for verdict in judgement.verdicts)
    return f"gate passed: {len(judgement.verdicts) - unjudged} series" + f", {unjudged} not judged" * bool(unjudged)


def _cells(verdict: Verdict) -> tuple[str, ...]:
    numbers = verdict.numbers
    return (
        verdict.name + (" !" if verdict.fails else ""),
        verdict.series.removeprefix("kina::"),
        str(numbers.n),
        _shown(numbers.median),
        _shown(numbers.baseline),
        "-" if numbers.ratio is None else percent(numbers.ratio),
        _shown(numbers.limit),
        _shown(numbers.budget),
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else seconds(value)
