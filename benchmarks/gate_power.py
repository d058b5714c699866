"""How often the gate cries wolf, and how often it sees a real slowdown: the implementation on simulated histories.

    python -m benchmarks.gate_power [--repetitions 2000] [--seed 1] [--processes 2] [--out table.md]

Each repetition makes K accepted runs of 8 series and one new run, and asks `judge` and `confirm` what a CI job would
ask. A sample is the series' typical value, times what its whole run has in common (log-normal, "run" noise), times
its own log-normal noise ("within"), and a few samples are outliers (1.5 to 3 times as long). "Same job" measures
again with the run's own factor, "fresh runner" with a new one. The run factor is drawn per series, so that series
move independently: then the "machine looks slow" rule has nothing to see, and the false alarms of 8 series add up.
A further table draws one factor for all series of a run, as a slow machine would; the last
one slows down only some of the starts of one series.

Printed are percentages with their standard errors below 100 * sqrt(p * (1 - p) / repetitions).
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_kina.gate import History, Judgement, Measurements, Name, Rules, SeriesSamples, StoredRun, confirm, judge

SERIES = 8
SHIFTS = (1.0, 1.1, 1.2, 1.5, 2.0)
SLOWED = (1.2, 1.3, 1.4, 1.5, 2.0)
MOVED = tuple(itertools.product((4, 7), (False, True), (False, True)))
INTERMITTENT = ((0.0, 1.0), (0.2, 3.0), (0.5, 2.5), (0.3, 2.0))
PHASES = ("create", "startup", "kubectl_ready", "delete", "reset", "install", "image_load", "ready")


@dataclass(frozen=True)
class Noise:
    """How samples vary: coefficients of variation within and between runs, and the share of outliers."""

    name: str
    within: float
    between: float
    outliers: float


NOISES = (
    Noise("10 % + 10 %", 0.10, 0.10, 0.05),
    Noise("20 % + 10 %", 0.20, 0.10, 0.05),
    Noise("minikube-like (4 % + 7 %)", 0.04, 0.07, 0.02),
)


@dataclass(frozen=True)
class Setting:
    """One cell of the table; ``slower`` is the factor on the first series of the new run, ``typical`` in seconds.

    ``together``: all series of a run share its factor; ``everything``: all are slower; ``short``: before every run of
    the history there is one with a single sample of each series.
    """

    noise: Noise
    n: int
    runs: int
    slower: float
    together: bool = False
    everything: bool = False
    typical: float = 20.0
    provider: str = "kind"
    often: float = 1.0
    series: int = SERIES
    short: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    chosen = parser.parse_args(arguments)
    with ProcessPoolExecutor(chosen.processes) as pool:
        counted = dict(zip(_settings(), pool.map(_count, _jobs(chosen)), strict=True))
    text = "\n".join(_tables(counted, chosen.repetitions, chosen.seed)) + "\n"
    sys.stdout.write(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")
    return 0


def simulate(setting: Setting, repetitions: int, seed: int) -> Counter[str]:
    """How many repetitions alarmed, by way of confirming; ``series`` and ``any`` for one and for any of the series."""
    chance = random.Random(f"{setting} {seed}")
    counts: Counter[str] = Counter()
    for _ in range(repetitions):
        counts.update(_repetition(setting, chance))
    return counts


def _settings() -> list[Setting]:
    grid = itertools.product(NOISES, (3, 5, 10), (5, 10), SHIFTS)
    shared = itertools.product(NOISES, (5,), (10,), (1.0, 2.0))
    return [
        *(Setting(noise, n, runs, slower) for noise, n, runs, slower in grid),
        *(Setting(noise, n, runs, slower, together=True) for noise, n, runs, slower in shared),
        *(Setting(noise, 5, 10, 2.0, together=True, everything=True) for noise in NOISES),
        *(_moved(*case, slower) for case in MOVED for slower in SLOWED),
        *(
            Setting(noise, 5, runs, slower, short=True)
            for noise in NOISES
            for runs in (5, 10)
            for slower in (1.0, 1.5, 2.0)
        ),
        *(_now_and_then(n, often, slower) for n in (5, 10, 20) for often, slower in INTERMITTENT),
        *(Setting(NOISES[0], 5, 10, slower, typical=0.15, provider="embedded") for slower in SHIFTS),
    ]


def _moved(series: int, together: bool, everything: bool, slower: float) -> Setting:
    return Setting(NOISES[0], 5, 10, slower, together=together, everything=everything, series=series)


def _now_and_then(n: int, often: float, slower: float) -> Setting:
    return Setting(NOISES[0], n, 10, slower, often=often)


def _jobs(chosen: argparse.Namespace) -> Iterator[tuple[Setting, int, int]]:
    return ((setting, chosen.repetitions, chosen.seed) for setting in _settings())


def _count(job: tuple[Setting, int, int]) -> Counter[str]:
    return simulate(*job)


def _repetition(setting: Setting, chance: random.Random) -> Iterator[str]:
    history = _history(setting, chance)
    rules = _rules(setting)
    factors = _factors(setting, chance)
    first = judge(_run(setting, chance, factors, setting.slower), history, rules)
    same = _again(first, setting, chance, history, factors)
    fresh = _again(first, setting, chance, history, _factors(setting, chance))
    for way, judgement in (("single", first), ("same", same), ("fresh", fresh)):
        if judgement.failed:
            yield f"{way} any"
        if judgement.verdicts[0].fails:
            yield f"{way} series"
    tail = any("samples are above" in warning for warning in first.verdicts[0].warnings)
    if tail:
        yield "tail"
    if tail or first.verdicts[0].fails:
        yield "either"
    if first.verdicts[0].name is Name.REGRESSED and not first.verdicts[0].fails:
        yield "excused"


def _again(
    first: Judgement, setting: Setting, chance: random.Random, history: History, factors: Sequence[float]
) -> Judgement:
    if not first.candidates:
        return first
    run = _run(setting, chance, factors, setting.slower)
    wanted = replace(run, series=tuple(one for one in run.series if one.fullname in first.candidates))
    return confirm(first, wanted, history, _rules(setting))


def _rules(setting: Setting) -> Rules:
    return Rules(samples=setting.n, budgets={})


def _history(setting: Setting, chance: random.Random) -> History:
    sizes = (1, setting.n) if setting.short else (setting.n,)
    each = (replace(setting, n=n) for _ in range(setting.runs) for n in sizes)
    runs = (_run(one, chance, _factors(one, chance), 1.0) for one in each)
    stored = [StoredRun.of(run, number=at, path=Path(str(at)), accepted=True) for at, run in enumerate(runs, start=1)]
    return History(machine="simulated", runs=tuple(stored))


def _factors(setting: Setting, chance: random.Random) -> list[float]:
    if setting.together:
        return [_log_normal(setting.noise.between, chance)] * setting.series
    return [_log_normal(setting.noise.between, chance) for _ in range(setting.series)]


def _run(setting: Setting, chance: random.Random, factors: Sequence[float], slower: float) -> Measurements:
    series = [
        SeriesSamples(
            fullname=f"kina::{phase}[{at}]",
            phase=phase,
            provider=setting.provider,
            seconds=tuple(_sample(setting, chance, factors[at], slower if _hit(setting, at) else 1.0)),
        )
        for at, phase in enumerate(PHASES[: setting.series])
    ]
    return Measurements(machine="simulated", run=str(chance.random()), series=tuple(series))


def _hit(setting: Setting, at: int) -> bool:
    return setting.everything or at == 0


def _sample(setting: Setting, chance: random.Random, factor: float, slower: float) -> Iterator[float]:
    noise = setting.noise
    for _ in range(setting.n):
        hit = slower if setting.often >= 1.0 or chance.random() < setting.often else 1.0
        outlier = chance.uniform(1.5, 3.0) if chance.random() < noise.outliers else 1.0
        yield setting.typical * factor * hit * outlier * _log_normal(noise.within, chance)


def _log_normal(cv: float, chance: random.Random) -> float:
    return chance.lognormvariate(0.0, math.sqrt(math.log1p(cv * cv)))


def _tables(counted: dict[Setting, Counter[str]], repetitions: int, seed: int) -> Iterator[str]:
    yield f"{repetitions} repetitions per cell, seed {seed}; percent of runs that failed."
    yield ""
    yield "Power: one of 8 series is slower by +0 / +10 / +20 / +50 / +100 %; the cells are about that series."
    yield ""
    yield "| noise (within + between) | n | K | single shot | confirmed, same job | confirmed, fresh runner |"
    yield "|---|---|---|---|---|---|"
    for noise, n, runs in itertools.product(NOISES, (3, 5, 10), (5, 10)):
        cells = [counted[Setting(noise, n, runs, slower)] for slower in SHIFTS]
        yield _row((noise.name, n, runs), _ways(cells, "series", repetitions))
    local = [counted[one] for one in counted if one.provider == "embedded"]
    yield _row(("10 % + 10 %, embedded, 150 ms", 5, 10), _ways(local, "series", repetitions))
    yield ""
    yield "False alarms per run of 8 series, nothing is slower:"
    yield ""
    yield "| noise (within + between) | n | K | single shot | confirmed, same job | confirmed, fresh runner |"
    yield "|---|---|---|---|---|---|"
    for noise, n, runs in itertools.product(NOISES, (3, 5, 10), (5, 10)):
        yield _row((noise.name, n, runs), _ways([counted[Setting(noise, n, runs, 1.0)]], "any", repetitions))
    yield ""
    yield "All series of a run share the run's factor (n = 5, K = 10); any series fails, confirmed in the same job:"
    yield ""
    yield "| noise (within + between) | nothing slower | one series +100 % | all series +100 % |"
    yield "|---|---|---|---|"
    for noise in NOISES:
        kinds = ((1.0, False), (2.0, False), (2.0, True))
        shared = [counted[Setting(noise, 5, 10, slower, together=True, everything=all_)] for slower, all_ in kinds]
        yield _row((noise.name,), [_share(one["same any"], repetitions) for one in shared])
    yield ""
    yield "Slow phase or slow machine (single shot, 10 % + 10 %, n = 5, K = 10). One series is slower: percent of runs"
    yield "in which it fails / is excused. Everything is slower: percent of runs in which any series fails."
    yield ""
    yield f"| phases | factor of a run | slower | {' | '.join(f'+{100 * slower - 100:.0f} %' for slower in SLOWED)} |"
    yield f"|---|---|---|{'---|' * len(SLOWED)}"
    for series, together, everything in MOVED:
        found = [counted[_moved(series, together, everything, slower)] for slower in SLOWED]
        ways = ("single any",) if everything else ("single series", "excused")
        labels = (series, "shared" if together else "per series", "everything" if everything else "one series")
        yield _row(labels, [" / ".join(_share(one[way], repetitions) for way in ways) for one in found])
    yield ""
    yield "Every other run of the history has one sample (n = 5; K of the rest); the series fails at +0 / +50 / +100 %:"
    yield ""
    yield "| noise (within + between) | K | single shot | confirmed, same job |"
    yield "|---|---|---|---|"
    for noise, runs in itertools.product(NOISES, (5, 10)):
        cells = [counted[Setting(noise, 5, runs, slower, short=True)] for slower in (1.0, 1.5, 2.0)]
        yield _row((noise.name, runs), _ways(cells, "series", repetitions)[:2])
    yield ""
    yield "Some starts of one series are slower (10 % + 10 %, K = 10); median rule / tail warning / either:"
    yield ""
    yield "| n | none | 20 % of starts x 3 | 50 % x 2.5 | 30 % x 2 |"
    yield "|---|---|---|---|---|"
    for n in (5, 10, 20):
        found = [counted[_now_and_then(n, often, slower)] for often, slower in INTERMITTENT]
        ways = ("single series", "tail", "either")
        yield _row((n,), [" / ".join(_share(one[way], repetitions) for way in ways) for one in found])


def _ways(cells: Sequence[Counter[str]], what: str, repetitions: int) -> list[str]:
    ways = ("single", "same", "fresh")
    return [" / ".join(_share(cell[f"{way} {what}"], repetitions) for cell in cells) for way in ways]


def _share(count: int, of: int) -> str:
    share = 100 * count / of
    return f"{share:.1f}" if share < 9.95 else f"{share:.0f}"


def _row(labels: Sequence[object], cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(str, (*labels, *cells)))} |"


if __name__ == "__main__":
    sys.exit(main())
