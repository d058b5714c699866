"""The medians of a series over the runs of the history, the band in which the next one is expected, and this run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.gate import History, Verdict
from pytest_kina.gate.wording import seconds
from pytest_kina.html.svg import dot, drawing, escaped, line, rectangle, text, ticks
from pytest_kina.html.verdicts import css_of

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 500, 170, 56, 10, 24
_MOST_RUNS = 40
_MOST_SERIES = 40


def trends(outcome: Outcome) -> str:
    """A small picture per series that has a history; without any, nothing."""
    drawn = [
        _trend(one, points, outcome.history)
        for one in outcome.judgement.verdicts[:_MOST_SERIES]
        if one.numbers.median is not None and (points := _points(one.series, outcome.history))
    ]
    legend = (
        '<p class="facts">Dots: medians of runs (hollow: not accepted); the last one is this run. Band: up to the '
        "limit of the gate; grey line: median of the baseline; dotted: where somebody accepted a new baseline.</p>"
    )
    return f'{legend}<div class="many">{"".join(drawn)}</div>' if drawn else ""


def _points(series: str, history: History) -> list[tuple[int, bool, float, str]]:
    from statistics import median

    found = [
        (run.number, run.accepted, median(run.series[series].seconds), run.measurements.commit)
        for run in history.runs
        if series in run.series
    ]
    return found[-_MOST_RUNS:]


def _trend(verdict: Verdict, points: list[tuple[int, bool, float, str]], history: History) -> str:
    numbers = verdict.numbers
    now = numbers.median or 0.0
    high = max([now, *(value for _, _, value, _ in points), numbers.limit or 0.0])
    marks = ticks(high * 1.05, 4)
    floor = _HEIGHT - _BOTTOM
    up = (floor - _TOP) / marks[-1]
    step = (_WIDTH - _LEFT - 16) / max(1, len(points))
    parts = []
    for mark in marks:
        y = floor - mark * up
        parts += [
            line(_LEFT, y, _WIDTH - 4, y, "grid"),
            text(_LEFT - 6, y + 4, seconds(mark) if mark else "0", "soft", "end"),
        ]
    if numbers.limit is not None:
        y = floor - numbers.limit * up
        parts += [rectangle(_LEFT, y, _WIDTH - 4 - _LEFT, floor - y, "band"), line(_LEFT, y, _WIDTH - 4, y, "limit")]
    if numbers.baseline is not None:
        y = floor - numbers.baseline * up
        parts.append(line(_LEFT, y, _WIDTH - 4, y, "base"))
    parts += _epoch(verdict.series, points, history, step)
    for at, (number, accepted, value, commit) in enumerate(points):
        tip = f"run {number}, {commit[:12]}: {seconds(value)}{'' if accepted else ', not accepted'}"
        parts.append(dot(_LEFT + 8 + at * step, floor - value * up, "run" if accepted else "ignored", tip))
    x = _LEFT + 8 + len(points) * step
    parts.append(dot(x, floor - now * up, f"now {css_of(verdict)}", f"this run: {seconds(now)}, {verdict.name}", 6))
    parts += [
        text(_LEFT, _HEIGHT - 6, f"run {points[0][0]}", "soft"),
        text(_WIDTH - 4, _HEIGHT - 6, "this run", "soft", "end"),
    ]
    title = f'{escaped(verdict.series.removeprefix("kina::"))} <span class="{css_of(verdict)}">{verdict.name}</span>'
    return f"<div><h3>{title}</h3>{drawing(_WIDTH, _HEIGHT, verdict.series, parts)}</div>"


def _epoch(series: str, points: list[tuple[int, bool, float, str]], history: History, step: float) -> list[str]:
    numbers = [epoch.number for epoch in history.epochs if series in epoch.series]
    places = [sum(number < epoch for number, *_ in points) for epoch in numbers]
    return [line(x := _LEFT + 8 + (at - 0.5) * step, _TOP, x, _HEIGHT - _BOTTOM, "epoch") for at in places if at]
