"""What the gate says about one series, and about one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Self

from pytest_kina.gate.measurements import alone

Mode = Literal["off", "warn", "fail"]
FINE, FAILED, NO_DATA = 0, 1, 2


class Name(StrEnum):
    """The eleven verdicts."""

    OK = "OK"
    IMPROVED = "IMPROVED"
    REGRESSED = "REGRESSED"
    OVER_BUDGET = "OVER-BUDGET"
    UNSTABLE = "UNSTABLE"
    LEARNING = "LEARNING"
    NEW = "NEW"
    MISSING = "MISSING"
    NOT_COMPARABLE = "NOT-COMPARABLE"
    INCOMPLETE = "INCOMPLETE"
    TOO_FEW = "TOO-FEW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What a verdict rests on; durations in seconds, None where it is not known.

    ``n`` samples with this ``median`` and coefficient of variation ``cv``; a baseline of ``baseline_runs`` runs whose
    medians have the median ``baseline``; ``limit`` is the 99 % prediction limit and ``ratio`` median over baseline.
    """

    n: int = 0
    median: float | None = None
    cv: float | None = None
    baseline_runs: int = 0
    baseline: float | None = None
    limit: float | None = None
    ratio: float | None = None
    floor: float | None = None
    budget: float | None = None
    failures: int = 0

    @property
    def above_limit(self) -> bool:
        """Whether the median is above the limit; that alone is no regression."""
        return self.median is not None and self.limit is not None and self.median > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One series: the verdict, whether it fails the run in mode ``fail``, why in one sentence, and further warnings."""

    series: str
    phase: str
    provider: str
    name: Name
    reason: str
    fails: bool = False
    warnings: tuple[str, ...] = ()
    numbers: Numbers = field(default_factory=Numbers)

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain JSON types."""
        return {**asdict(self), "name": self.name.value, "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The verdict that :meth:`to_json` wrote. Raises :class:`ValueError` for anything else."""
        try:
            numbers = Numbers(**document["numbers"])
            return cls(
                **{
                    **document,
                    "name": Name(document["name"]),
                    "warnings": tuple(document["warnings"]),
                    "numbers": numbers,
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a verdict: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All verdicts of one run, in the order of the run's series; ``notes`` are about the run as a whole.

    ``slow`` is by how much everything took longer than usual, when the machine looks slow.
    """

    machine: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    slow: float | None = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the series that fail and that measuring again could acquit."""
        again = (Name.REGRESSED, Name.OVER_BUDGET)
        return tuple(verdict.series for verdict in self.verdicts if verdict.fails and verdict.name in again)

    @property
    def failed(self) -> bool:
        """True when any series fails."""
        return any(verdict.fails for verdict in self.verdicts)

    @property
    def usable(self) -> bool:
        """False when there was nothing to judge: no series, or an incomplete run."""
        return any(verdict.name not in (Name.INCOMPLETE, Name.MISSING) for verdict in self.verdicts)

    @property
    def blind(self) -> tuple[str, ...]:
        """Names of the series with too few samples of which a regression passes.

        Not those of clusters made beside others, when the same kind made alone has enough of them.
        """
        few = [verdict.series for verdict in self.verdicts if verdict.name is Name.TOO_FEW]
        seen = {verdict.series for verdict in self.verdicts} - set(few)
        return tuple(name for name in few if alone(name) not in seen)

    def to_json(self) -> dict[str, Any]:
        """The judgement as plain JSON types."""
        return {
            "machine": self.machine,
            "failed": self.failed,
            "slow": self.slow,
            "notes": list(self.notes),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }


def exit_code(judgement: Judgement, mode: Mode) -> int:
    """0 fine (always, in the modes ``off`` and ``warn``), 1 regressed or over budget, 2 nothing could be judged."""
    if mode != "fail":
        return FINE
    if judgement.failed:
        return FAILED
    return FINE if judgement.usable else NO_DATA
