"""What the plugin adds to a pytest run that does not use it.

A session with one empty test, as a whole process, with the plugin loaded and with ``-p no:kina``; the two take turns,
and which one comes first alternates. No other plugin is loaded, so that nothing else has imported what this one
needs: the figure is the worst case. Compiled modules are kept, as in any installation, in a directory of their own.
The difference is taken pair by pair.

    python -m benchmarks.plugin_overhead --repetitions 60 --record
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recording import machine_line, markdown_table, publish, repeated, spread
from pytest_kina.process import run_command

GOAL_MS = 15.0
VARIANTS = {"without": ("-p", "no:kina"), "with": ("-p", "pytest_kina.plugin")}


@dataclass(frozen=True)
class Cost:
    """Seconds of one session: on the clock, and of processors, which a busy machine changes less."""

    wall: float
    cpu: float


Pair = dict[str, Cost]


def main() -> int:
    """Measure, print, record; 1 when the goal is missed."""
    chosen = repeated(__doc__, "pairs to measure", default=30)
    with tempfile.TemporaryDirectory() as directory:
        pairs = measure(Path(directory), chosen.repetitions)
    rows = [row for kind in ("wall", "cpu") for row in rows_of(kind, pairs)]
    table = markdown_table(("session with one test, ms", "median", "middle half", "range"), rows)
    met = float(rows[2][1]) <= GOAL_MS
    verdict = f"Goal: at most {GOAL_MS:g} ms of wall time added; {'met' if met else 'missed'} ({len(pairs)} pairs)."
    publish("Plugin overhead", machine_line(), [*table, "", verdict], record=chosen.record)
    return 0 if met else 1


def rows_of(kind: str, pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Without, with, and the differences pair by pair."""
    seconds = {name: [getattr(pair[name], kind) for pair in pairs] for name in VARIANTS}
    seconds["difference"] = [after - before for before, after in zip(*seconds.values(), strict=True)]
    return [(f"{kind}, {name}", *spread(values, 1000)) for name, values in seconds.items()]


def measure(directory: Path, repetitions: int) -> list[Pair]:
    """Both variants, pair by pair; two pairs before that fill the caches."""
    (directory / "test_one.py").write_text("def test_one():\n    pass\n")
    pairs = []
    for number in range(-2, repetitions):
        names = sorted(VARIANTS, reverse=number % 2 == 0)
        pair = {name: session(directory, VARIANTS[name]) for name in names}
        pairs += [pair] if number >= 0 else []
    return pairs


def session(directory: Path, arguments: Sequence[str]) -> Cost:
    """What one session costs, from starting the interpreter to its end."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, "test_one.py"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("KINA_", "PYTEST_", "PYTHON"))}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPYCACHEPREFIX": str(directory / "compiled")}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    run_command(argv, timeout=60, cwd=directory, env=env)
    wall = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall=wall, cpu=now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


if __name__ == "__main__":
    sys.exit(main())
