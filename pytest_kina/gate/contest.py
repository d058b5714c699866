"""Providers side by side: the same workload in turns, so that what slows the machine down slows them all down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pytest_kina.gate.inference import Interval, median, ratio_interval
from pytest_kina.gate.wording import seconds, table

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One provider: what it is, its seconds by phase (only what succeeded), and why turns failed.

    ``left_out`` says why it runs no Deployment; empty when it does. ``turns`` counts all of them: those that
    failed, and the first one, which gives no samples. In ``busy`` turns others used clusters of this machine.
    """

    name: str
    about: str
    turns: int
    samples: Mapping[str, tuple[float, ...]]
    failures: tuple[str, ...] = ()
    left_out: str = ""
    busy: int = 0

    def to_json(self) -> dict[str, Any]:
        """The entrant as plain JSON types, durations in seconds, with medians and ranges."""
        phases = {
            phase: {"median": median(values), "min": min(values), "max": max(values), "seconds": list(values)}
            for phase, values in self.samples.items()
        }
        return {
            "name": self.name,
            "about": self.about,
            "turns": self.turns,
            "failures": list(self.failures),
            "left_out": self.left_out,
            "busy": self.busy,
            "phases": phases,
        }


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What ``rounds`` rounds measured; ratios are against the first entrant. ``skipped``: name to reason."""

    rounds: int
    phases: tuple[str, ...]
    entrants: tuple[Entrant, ...]
    skipped: Mapping[str, str]
    ended: str = ""

    @property
    def failed(self) -> bool:
        """True when a turn failed, the rounds were cut short, or nobody could take part."""
        return not self.entrants or bool(self.ended) or any(one.failures for one in self.entrants)

    @property
    def shown(self) -> list[str]:
        """The phases that anybody has samples of, in their order."""
        return [phase for phase in self.phases if any(one.samples.get(phase) for one in self.entrants)]

    @cached_property
    def ratios(self) -> Mapping[str, Mapping[str, Interval]]:
        """By name of an entrant and phase, how many times as long as the first entrant it took."""
        if not self.entrants:
            return {}
        base, *others = self.entrants
        return {
            one.name: {
                phase: ratio_interval(base.samples[phase], one.samples[phase], _LEVEL)
                for phase in self.shown
                if base.samples.get(phase) and one.samples.get(phase)
            }
            for one in others
        }

    @property
    def notes(self) -> list[str]:
        """What to keep in mind, and all that went wrong."""
        notes = [f"{one.name} runs no Deployment: {one.left_out}" for one in self.entrants if one.left_out]
        notes += [
            f"{one.busy} of {one.turns} turns of {one.name} ran while other clusters of this machine were in use"
            for one in self.entrants
            if one.busy
        ]
        levels = [interval.level for phases in self.ratios.values() for interval in phases.values()]
        if levels and min(levels) < _LEVEL:
            notes.append(
                f"so few samples allow intervals of {min(levels):.0%} only, not of {_LEVEL:.0%}: more --repeat"
            )
        for one in self.entrants:
            notes += [f"{one.name} FAILED, {len(one.failures)} of {one.turns} turns"] if one.failures else []
            notes += [f"{one.name}, {failure.splitlines()[0]}" for failure in one.failures]
        return notes + ([self.ended] if self.ended else [])

    def to_json(self) -> dict[str, Any]:
        """The contest as plain JSON types."""
        return {
            "schema": 1,
            "rounds": self.rounds,
            "failed": self.failed,
            "base": self.entrants[0].name if self.entrants else None,
            "providers": [one.to_json() for one in self.entrants],
            "ratios": {name: {key: asdict(one) for key, one in found.items()} for name, found in self.ratios.items()},
            "skipped": dict(self.skipped),
            "notes": self.notes,
        }


def headline(contest: Contest) -> str:
    """What was done and whether it went well, in one line."""
    rounds = f"{contest.rounds} round{'' if contest.rounds == 1 else 's'}"
    outcome = "; not all went well, see the notes" if contest.failed else ""
    return (
        f"{rounds} in turns, after one that does not count{outcome}" if contest.entrants else "nobody could take part"
    )


def seconds_rows(contest: Contest) -> list[list[str]]:
    """Headings, then per phase each provider's median, range and number of samples."""
    headings = ["phase", *(one.name for one in contest.entrants)]
    return [headings] + [
        [phase, *(_spread(one.samples.get(phase, ())) for one in contest.entrants)] for phase in contest.shown
    ]


def ratio_rows(contest: Contest) -> list[list[str]]:
    """Headings, then per phase how many times as long as the first provider each other one took."""
    rows = [["phase", *contest.ratios]]
    for phase in contest.shown:
        cells = [_times(found[phase]) if phase in found else "-" for found in contest.ratios.values()]
        if any(cell != "-" for cell in cells):
            rows.append([phase, *cells])
    return rows


def ratio_title(contest: Contest) -> str:
    """What the numbers of :func:`ratio_rows` are."""
    return f"times as long as {contest.entrants[0].name}: median of all ratios ({_LEVEL:.0%} interval)"


def contest_lines(contest: Contest) -> list[str]:
    """Who took part and who did not, the two tables, and notes."""
    lines = [headline(contest), *(f"  {one.name}: {one.about}" for one in contest.entrants)]
    lines += [f"  {name}: SKIPPED, {why}" for name, why in contest.skipped.items()]
    if contest.shown:
        lines += ["", "median (lowest to highest, number of samples)", *_table(seconds_rows(contest))]
    if len(rows := ratio_rows(contest)) > 1:
        lines += ["", ratio_title(contest), *_table(rows)]
    notes = contest.notes
    return [*lines, *([""] if notes else []), *(f"note: {note}" for note in notes)]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"  {line}" for line in table(rows, left=1)]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{seconds(median(values))} ({seconds(min(values))} to {seconds(max(values))}, {len(values)})"


def _times(ratio: Interval) -> str:
    return f"{ratio.ratio:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"
