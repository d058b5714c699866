"""How many tests there are against each hazard, and what the crash points are tried with.

    python -m benchmarks.hazards [--record]

A case belongs to a hazard when it is among the tests of reliability and its id (path, name and parameters, as pytest
collects them) matches the hazard's pattern; one case may belong to several. Nothing is run. The exit code is 1 when a
hazard has no case.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.recording import machine_line, markdown_table, publish
from pytest_kina import crashpoints
from tests.support.crashes import EFFECTS

_REPOSITORY = Path(__file__).parents[1]

SCOPE = (
    r"tests/(faults|stateful|model|unit/pool|unit/binaries|unit/doctor)/|tests/unit/test_(files|cli_processes|process)\.py"
    r"|tests/e2e/test_(supervisor|security|embedded|embedded_rungs|templates|main_job)\.py"
    r"|tests/plugin/test_(degradation|failures|courtesy)\.py"
)
"""Where the tests of reliability are; elsewhere a word of a pattern means something else."""

HAZARDS: Mapping[str, str] = {
    "death at a named step": r"test_crashpoints\.py::test_(pool|store|templates|nothing)_",
    "death at any moment (kill, exit, OOM)": r"killed|_dies|died|dead|death|SIGKILL|_exit",
    "being stopped, sleep, clocks": r"stopped|suspended|clock|SIGSTOP",
    "Ctrl-C, SIGTERM, a cut teardown": r"ctrl_c|SIGTERM|interrupt|teardown|maxfail",
    "forks, daemons, inherited descriptors": r"fork|daemon|descriptor|_pipe",
    "many at once": r"contention|begin_at_once|name_the_pool_at_once|two_runs|two_processes|two_who_ask|at_once_never",
    "orders of events (explored worlds, random stories)": r"tests/(model|stateful)/",
    "full, read-only or removed disk": r"disk|room_that|root_that|that_was_removed",
    "torn, forged or foreign files": (
        r"_torn_|malformed|damaged|a_changed_file|truncated|suspicious|half_written|lead_out"
    ),
    "newer and older versions on one root": r"newer(?!_go)|two_versions_|versions_cluster|unknown_keys",
    "other users: permissions, links, secrets": (
        r"another_user|private(?!_toolchain)|umask|secret|_link_|planted|stranger|token|root_of"
    ),
    "ports and impostors": r"(?<![a-z])ports?(?![a-z])|impostor",
    "resets and deletes that fail": (
        r"reset_is_tried|failing_delete|cannot_be_(reset|deleted)|reset_that_would|gives_up"
    ),
    "components that die or hang": (
        r"component_(killed|that_is)|(death_of_a|dead|real|stubborn)_component|killed_supervisor|unhealthy"
    ),
    "capacity and deadlines": r"full_pool|slot_above|more_than_the_pool|permit|times_out|deadline|time_out|_budget",
    "leaks of the project's own tests": r"test_leak_gate\.py::",
}
"""Each hazard, and what the ids of the tests against it have in them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, count, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    chosen = parser.parse_args(arguments)
    cases = collected()
    rows = [[hazard, *map(str, counts(pattern, cases))] for hazard, pattern in HAZARDS.items()]
    steps = {part: 2 * len(names) for part, names in crashpoints.POINTS.items()}
    listed = ", ".join(f"{part} {number}" for part, number in steps.items())
    points = sum(steps.values())
    tried = points * len(EFFECTS)
    lines = [
        f"{len(cases)} cases in all, long ones included.",
        "",
        *markdown_table(["hazard", "tests", "cases"], rows),
        "",
        f"{points} crash points ({listed}), each with {len(EFFECTS)} effects ({', '.join(EFFECTS)}): {tried} cases.",
    ]
    publish("Tests by hazard", machine_line(), lines, record=chosen.record)
    return int(any(row[-1] == "0" for row in rows))


def collected() -> list[str]:
    """The ids of all cases of the project. Raises :class:`RuntimeError` when they cannot be collected."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:randomly", "tests"]
    done = subprocess.run(argv, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the tests cannot be collected:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [line for line in done.stdout.splitlines() if "::" in line]


def counts(pattern: str, cases: Sequence[str]) -> tuple[int, int]:
    """How many tests (functions) of reliability match, and how many cases of them."""
    matching = [case for case in cases if re.match(SCOPE, case) and re.search(pattern, case)]
    return len({case.partition("[")[0] for case in matching}), len(matching)


if __name__ == "__main__":
    sys.exit(main())
