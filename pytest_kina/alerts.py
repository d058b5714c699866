"""Limits that a project sets itself: ``[[tool.kina.alerts]]`` with phase, statistic and limit.

[[tool.kina.alerts]]
phase = "ready"
statistic = "max"        # median (default), mean, min, max or p95
limit = "5s"
action = "fail"          # or "warn", the default
provider = "embedded"    # optional: of this provider only
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_kina.errors import SettingsError
from pytest_kina.options import positive_duration
from pytest_kina.report.series import READY, Series
from pytest_kina.report.table import duration as shown
from pytest_kina.timing import Phase

PHASES = (*(phase.value for phase in Phase), READY)
ACTIONS = ("warn", "fail")
_KEYS = ("phase", "statistic", "limit", "action", "provider")


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values)


def _p95(values: Sequence[float]) -> float:
    from pytest_kina.metrics.budgets import percentile

    return percentile(values, 0.95) or 0.0


_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "median": _median,
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "p95": _p95,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A limit in seconds for one statistic of a phase; ``provider`` empty: of all."""

    phase: str
    statistic: str
    limit: float
    action: Literal["warn", "fail"]
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A broken rule: the series, its figure in seconds and how many samples it comes from."""

    rule: Rule
    series: str
    value: float
    n: int

    @property
    def fails(self) -> bool:
        """Whether it fails the run."""
        return self.rule.action == "fail"

    def __str__(self) -> str:
        rule = self.rule
        return f"{self.series}: {rule.statistic} {shown(self.value)} of {self.n}, the limit is {shown(rule.limit)}"


def rules(tables: Sequence[Mapping[str, Any]], place: str) -> tuple[Rule, ...]:
    """The rules in the tables of ``place``. Raises :class:`SettingsError` that names everything that is wrong."""
    problems = [f"{place}: rule {number}: {why}" for number, table in enumerate(tables, 1) for why in _wrong(table)]
    if problems:
        raise SettingsError("\n".join(problems), next_step="correct [[tool.kina.alerts]]")
    return tuple(
        Rule(
            phase=table["phase"],
            statistic=table.get("statistic", "median"),
            limit=positive_duration(table["limit"]),
            action=table.get("action", "warn"),
            provider=table.get("provider", ""),
        )
        for table in tables
    )


def broken(wanted: Sequence[Rule], series: Sequence[Series]) -> list[Alert]:
    """One alert per rule and series that is above the rule's limit; series without samples break nothing."""
    found = []
    for rule in wanted:
        for one in series:
            if one.key.phase != rule.phase or rule.provider not in ("", one.key.provider) or not one.seconds:
                continue
            value = _STATISTICS[rule.statistic](one.seconds)
            if value > rule.limit:
                found.append(Alert(rule=rule, series=one.key.fullname, value=value, n=len(one.seconds)))
    return found


def _wrong(table: Mapping[str, Any]) -> list[str]:
    allowed = {"phase": PHASES, "statistic": tuple(_STATISTICS), "action": ACTIONS}
    given = {"statistic": "median", "action": "warn", "provider": "", **table}
    problems = [f"unknown key {key!r}; expected {', '.join(_KEYS)}" for key in table if key not in _KEYS]
    problems += [
        f"{key}: expected one of {', '.join(values)}, got {given.get(key)!r}"
        for key, values in allowed.items()
        if given.get(key) not in values
    ]
    if not isinstance(given["provider"], str):
        problems.append(f"provider: expected a name, got {given['provider']!r}")
    try:
        positive_duration(given["limit"])
    except (KeyError, ValueError, AttributeError):  # absent, no duration, no text
        problems.append(f"limit: expected a duration like '5s', got {given.get('limit')!r}")
    return problems
