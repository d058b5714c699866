"""What the gate holds a run against: how many samples and runs it wants, how much slower is slower, and budgets.

The figures are those of the simulations in ``docs/gate.md``; ``benchmarks/gate_power.py`` repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LEAST_SAMPLES = 3
"""With fewer samples a series is shown and never fails."""

LEAST_SPREAD = 0.03
"""Least standard deviation of the logarithms of run medians: a lucky quiet window must not make a hair trigger."""

UNSTABLE_VARIATION = 0.40
LEARNING_RATIO = 1.5
CREEP_RATIO = 1.25
NEAR_BUDGET = 0.85

NEVER_GATED = frozenset({"lease_wait"})
"""How long a test waits for a cluster says how many tests there are, not how fast a cluster is."""

OTHERS = ""
"""The key in :data:`BUDGETS` for providers that have none of their own."""

BUDGETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        OTHERS: MappingProxyType({"create": 30.0, "startup": 15.0, "kubectl_ready": 5.0, "delete": 10.0}),
        "embedded": MappingProxyType({"create": 10.0, "startup": 10.0, "kubectl_ready": 2.0, "delete": 3.0}),
    }
)
"""Seconds that the median of a phase may take, by provider and phase."""

_LOCAL_PROCESSES = frozenset({"embedded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to judge. ``samples`` are wanted per series; ``window`` (5 to 20) accepted runs make the baseline.

    From ``enforce`` runs on a regression fails. ``ratio`` is how many times the baseline's median is slower.
    ``budgets`` are seconds by provider and phase; the provider ``""`` stands for all others.
    """

    samples: int = 5
    window: int = 10
    enforce: int = 5
    ratio: float = 1.20
    require_baseline: bool = False
    budgets: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: BUDGETS)

    def budget(self, provider: str, phase: str) -> float | None:
        """The budget in seconds, or None where there is none."""
        return self.budgets.get(provider, self.budgets.get(OTHERS, {})).get(phase)


def floor(provider: str, baseline: float) -> float:
    """How many seconds a difference must have to matter: 30 ms or 10 % for local processes, 0.5 s for the rest."""
    return max(0.030, 0.10 * baseline) if provider in _LOCAL_PROCESSES else 0.5
