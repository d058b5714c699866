"""The life of an embedded cluster, cold: its phases, and the memory of its processes.

Each repetition makes one cluster per profile with ``pytest-kina up``, waits until its memory has settled, and deletes
it with ``pytest-kina down``; the profiles take turns. One repetition before that fills the caches. Phases are those
that the plugin itself records; memory is the proportional set size (``Pss`` of ``/proc/<pid>/smaps_rollup``), which
counts shared pages once, so it exists on Linux only.

    KINA_ASSETS=/path/to/binaries python -m benchmarks.lifecycle --repetitions 10 --record
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording import machine_line, markdown_table, publish, repeated, spread
from pytest_kina.pool.actor import describe
from pytest_kina.process import run_command
from pytest_kina.report.runs import spooled
from pytest_kina.report.series import place, samples

PROFILES = {
    "api": ("--profile=api", "--simulated-nodes=0"),
    "workloads": ("--profile=workloads", "--simulated-nodes=1"),
}
SETTLE = 5.0  # seconds from readiness to the look at the memory: start-up garbage is returned by then
TIMEOUT = 1800.0  # the first `up` may have to build the binaries

Seconds = dict[str, dict[str, list[float]]]


def main() -> int:
    """Measure, print, record."""
    chosen = repeated(__doc__, "per profile", default=10)
    with tempfile.TemporaryDirectory(prefix="kina-lifecycle-") as directory:
        home = Path(directory) / "home"
        try:
            memory, versions = measure(home, chosen.repetitions)
            lines = report(phases_of(home), memory, chosen.repetitions)
        finally:
            command(home, "down", "--json", check=False)
    publish("Life of an embedded cluster, cold", machine_line(**versions), lines, record=chosen.record)
    return 0


def measure(home: Path, repetitions: int) -> tuple[Seconds, dict[str, str]]:
    """Memory in bytes per profile and component, and the versions that ran. Phases are in the spools of ``home``."""
    memory: Seconds = defaultdict(lambda: defaultdict(list))
    versions: dict[str, str] = {}
    for number in range(repetitions + 1):
        for profile, arguments in sorted(PROFILES.items(), reverse=number % 2 == 0):
            made = command(home, "up", "--json", "--ttl=15m", *arguments)
            versions |= versions_of(made)
            time.sleep(SETTLE)
            sizes = memory_of(made["cluster"])
            command(home, "down", "--json", made["cluster"])
            if number == 0:
                forget(home)
                continue
            for component, size in (sizes | {"all": sum(sizes.values())}).items():
                memory[profile][component].append(size)
    return memory, versions


def command(home: Path, *arguments: str, check: bool = True) -> dict[str, Any]:
    """Run ``pytest-kina`` on the root of this benchmark, and return its document."""
    program = Path(sys.executable).with_name("pytest-kina")
    passed = {name: value for name, value in os.environ.items() if name != "CI"}
    result = run_command([program, "--home", home, *arguments], timeout=TIMEOUT, env=passed, check=check)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def forget(home: Path) -> None:
    """Drop the timings of the repetition that filled the caches."""
    for spool in home.glob("runs/*/*.jsonl"):
        spool.unlink()


def versions_of(made: Mapping[str, Any]) -> dict[str, str]:
    """What ran in the cluster, from its description."""
    description = describe(Path(made["directory"]))
    identity = dict(description.identity) if description else {}
    return {name: text for name, text in identity.items() if name in ("kubernetes", "etcd", "kwok")}


def memory_of(cluster: str) -> dict[str, int]:
    """Proportional set size in bytes per component; the supervisor is one of them."""
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and f"KINA_CLUSTER={cluster}\0".encode() in (process / "environ").read_bytes():
                found[component_of(process)] = pss(process)
        except OSError:  # it has ended, or it is somebody else's
            continue
    return found


def component_of(process: Path) -> str:
    """The program's name; a Python process is the supervisor."""
    program = Path((process / "cmdline").read_bytes().split(b"\0")[0].decode()).name
    return "supervisor" if program.startswith("python") else program


def pss(process: Path) -> int:
    """Proportional set size in bytes; see proc_pid_smaps(5)."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def phases_of(home: Path) -> Seconds:
    """Seconds per profile and phase, with the total ``ready``."""
    events = [event for run in (home / "runs").iterdir() for event in spooled(run)]
    phases: Seconds = defaultdict(lambda: defaultdict(list))
    for sample in samples(sorted(events, key=lambda event: event.t0)):
        assert sample.event.ok, f"{sample.phase} of {sample.event.cluster} failed: {sample.event.error}"
        phases[sample.event.profile][sample.phase].append(sample.seconds)
    return phases


def report(phases: Seconds, memory: Seconds, repetitions: int) -> list[str]:
    """Two tables per profile as Markdown."""
    lines = [f"{repetitions} repetitions per profile, interleaved; every cluster new, one at a time.", ""]
    for profile in PROFILES:
        ordered = sorted(phases[profile], key=place)
        rows = [(name, *spread(phases[profile][name], 1000, 0)) for name in ordered]
        lines += [*markdown_table((f"`{profile}`, ms", "median", "middle half", "range"), rows), ""]
        rows = [(name, *spread(sizes, 2**-20)) for name, sizes in sorted(memory[profile].items(), key=by_size)]
        lines += [*markdown_table((f"`{profile}`, PSS in MiB", "median", "middle half", "range"), rows), ""]
    return lines[:-1]


def by_size(entry: tuple[str, Sequence[float]]) -> float:
    """Largest first."""
    return -sum(entry[1])


if __name__ == "__main__":
    sys.exit(main())
