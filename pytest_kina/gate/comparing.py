"""Two measurings side by side: two runs, versions, providers or machines, or the two sides of an interleaved A/B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_kina.gate.inference import Interval, mann_whitney, median, ratio_interval
from pytest_kina.gate.measurements import Measurements, SeriesSamples
from pytest_kina.gate.rules import LEAST_SAMPLES, floor
from pytest_kina.gate.wording import percent, seconds, table

APART = 1.5
"""Two single runs differ by chance by what their runs have in common; only from this ratio on one is called slower."""

INTERLEAVED = 1.1
"""The same for an interleaved A/B, where both sides share that."""

_SIGNIFICANT = 0.01
_HEADINGS = ("series", "A", "n", "B", "n", "B against A", "interval", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One series on both sides. ``p`` is the one-sided Mann-Whitney value for "B takes longer"."""

    label: str
    base: SeriesSamples
    head: SeriesSamples
    interval: Interval
    p: float
    slower: bool

    def to_json(self) -> dict[str, Any]:
        """The pair as plain JSON types; durations in seconds."""
        return {
            "series": self.label,
            "a": {"series": self.base.fullname, "seconds": list(self.base.seconds)},
            "b": {"series": self.head.fullname, "seconds": list(self.head.seconds)},
            "ratio": asdict(self.interval),
            "p": self.p,
            "slower": self.slower,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All series that both sides have, the names that only one has, and what to keep in mind."""

    pairs: tuple[Pair, ...]
    only_base: tuple[str, ...]
    only_head: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def slower(self) -> bool:
        """True when B is slower in any series, beyond what chance does."""
        return any(pair.slower for pair in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON types."""
        return {
            "slower": self.slower,
            "series": [pair.to_json() for pair in self.pairs],
            "only_a": list(self.only_base),
            "only_b": list(self.only_head),
            "notes": list(self.notes),
        }


def compare(base: Measurements, head: Measurements, *, ratio: float = APART) -> Comparison:
    """``base`` (A) and ``head`` (B), series by series.

    Series of equal name belong together; of the rest those that differ in provider or Kubernetes version only.
    ``ratio`` is from where on B may be called slower; on different machines nothing is.
    """
    matched = _matched(_measured(base), _measured(head))
    same = base.machine == head.machine
    pairs = tuple(_pair(label, one, other, ratio if same else float("inf")) for label, one, other in matched)
    return Comparison(
        pairs=pairs,
        only_base=_left(base, {pair.base.fullname for pair in pairs}),
        only_head=_left(head, {pair.head.fullname for pair in pairs}),
        notes=_notes(base, head, same),
    )


def comparison_lines(comparison: Comparison) -> list[str]:
    """A table with a row per pair, then what only one side has, and notes."""
    rows = [_HEADINGS, *(_cells(pair) for pair in comparison.pairs)]
    lines = table(rows, left=1) if comparison.pairs else ["no series is on both sides"]
    lines += [f"only in A: {name}" for name in comparison.only_base]
    lines += [f"only in B: {name}" for name in comparison.only_head]
    lines += [f"slower: {pair.label}" for pair in comparison.pairs if pair.slower]
    return lines + [f"note: {note}" for note in comparison.notes]


def _measured(run: Measurements) -> list[SeriesSamples]:
    return [one for one in run.series if one.seconds]


def _left(run: Measurements, taken: set[str]) -> tuple[str, ...]:
    return tuple(one.fullname for one in _measured(run) if one.fullname not in taken)


def _matched(
    base: Sequence[SeriesSamples], head: Sequence[SeriesSamples]
) -> list[tuple[str, SeriesSamples, SeriesSamples]]:
    by_name = {one.fullname: one for one in head}
    exact = [(one.fullname, one, by_name[one.fullname]) for one in base if one.fullname in by_name]
    taken = {name for name, _, _ in exact}
    ours, theirs = (_by_kind([one for one in side if one.fullname not in taken]) for side in (base, head))
    return exact + [
        (f"{kind} {one.provider} {one.kubernetes} / {other.provider} {other.kubernetes}", one, other)
        for kind, (one, *more) in ours.items()
        for other, *others in [theirs.get(kind, [None])]
        if other is not None and not more and not others  # with several of a kind nobody knows which belong together
    ]


def _by_kind(series: Sequence[SeriesSamples]) -> dict[str, list[SeriesSamples]]:
    kinds: dict[str, list[SeriesSamples]] = {}
    for one in series:
        kind = f"{one.phase}[{one.profile}-n{one.nodes}-{one.start}-c{one.concurrency}]"
        kinds.setdefault(kind, []).append(one)
    return kinds


def _pair(label: str, base: SeriesSamples, head: SeriesSamples, ratio: float) -> Pair:
    p = mann_whitney(base.seconds, head.seconds)
    low, high = median(base.seconds), median(head.seconds)
    apart = high > ratio * low and high - low > floor(head.provider, low)
    enough = min(len(base.seconds), len(head.seconds)) >= LEAST_SAMPLES
    return Pair(
        label=label,
        base=base,
        head=head,
        interval=ratio_interval(base.seconds, head.seconds),
        p=p,
        slower=enough and apart and p < _SIGNIFICANT,
    )


def _notes(base: Measurements, head: Measurements, same: bool) -> tuple[str, ...]:
    possible = {
        f"A was measured on {base.machine}, B on {head.machine}: nothing is called slower": not same,
        f"A is incomplete: {'; '.join(base.incomplete)}": base.incomplete,
        f"B is incomplete: {'; '.join(head.incomplete)}": head.incomplete,
    }
    return tuple(note for note, holds in possible.items() if holds)


def _cells(pair: Pair) -> tuple[str, ...]:
    interval = pair.interval
    return (
        pair.label.removeprefix("kina::"),
        seconds(median(pair.base.seconds)),
        str(len(pair.base.seconds)),
        seconds(median(pair.head.seconds)),
        str(len(pair.head.seconds)),
        percent(interval.ratio),
        f"{percent(interval.low)} to {percent(interval.high)} ({interval.level:.0%})",
        f"{pair.p:.3f}",
    )
