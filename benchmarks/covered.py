"""Branch coverage of the core by its tests, also in the processes that the tests start.

    python -m benchmarks.covered [--record] [--missing] [tests/unit/pool -n 2 ...]

What else is given goes to pytest; without any the whole suite runs. It runs in a copy of the repository with two lines
changed, so that the processes which get a short list of variables (idle helper, janitor) and the supervisor, which
runs without site-packages, are measured, too. Processes that are killed cannot report what they did, so the figures
are lower bounds. Goal: 95 % of lines and branches of the core; the exit code is 1 when a part misses it. ``--missing``
lists what no test reached.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.copies import copy_repository, environment_of
from benchmarks.recording import machine_line, markdown_table, publish

_GOAL = 95.0
_PARTS = (
    *(
        "pool",
        "process",
        "files",
        "spec",
        "timing",
        "marks",
        "waiting",
        "run",
        "cycles",
        "spares",
        "memory",
        "settings",
    ),
    *("_supervisor", "_idle", "_tidy", "_janitor", "_cycle", "_warm", "crashpoints", "certificates", "errors"),
    *("providers/embedded", "providers/external", "providers/kina", "providers/apple_k8s", "providers/containers"),
    *("providers/kind", "providers/k3d", "providers", "binaries", "cluster", "images", "metrics", "report", "gate"),
    *("doctor", "cli", "plugin", "fixtures"),
)
"""A file belongs to the longest of these that its path begins with."""

_VARIABLE = "COVERAGE_PROCESS_CONFIG"
_CHANGES = {
    "process.py": ("PASSED_ON = (", f'PASSED_ON = (  "{_VARIABLE}",'),
    "_supervisor.py": ("import contextlib\n", "import contextlib; {hook}\n"),
}
# Nothing is seen of a frame that runs already, so the file begins again.
_AGAIN = "exec(compile(open(__file__).read(), __file__, 'exec'), globals())"
_START = f"import sys; sys.path.append('{{packages}}'); import coverage; coverage.process_startup(); {_AGAIN}"
_HOOK = f'__name__ == "__main__" and "coverage" not in __import__("sys").modules and exec("{_START}")'
_CONFIG = """
[run]
branch = true
parallel = true
source = {copy}/pytest_kina
patch = subprocess, _exit, fork
data_file = {place}/data
[report]
exclude_also =
    if TYPE_CHECKING:
    raise NotImplementedError
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests, add up, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    parser.add_argument("--missing", action="store_true", help="list the lines and branches that no test reached")
    parser.add_argument("--report", type=Path, help="keep what was reached in this file, for --add")
    parser.add_argument("--add", type=Path, action="append", default=[], help="add what another call kept")
    chosen, tests = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kina-covered-") as place:
        code, report = _measure(Path(place), tests)
    for path in chosen.add:
        _add(report, json.loads(path.read_text(encoding="utf-8")))
    if chosen.report:
        chosen.report.write_text(json.dumps(report), encoding="utf-8")
    if chosen.missing:
        _list_missing(report)
    measured = _by_part(report)
    rows = [[part, *_row(measured[part])] for part in _PARTS if part in measured]
    asked = " ".join(tests) or "the whole suite"
    lines = [
        f"`pytest {asked}`, exit code {code}.",
        "",
        *markdown_table(["part", "lines", "branches", "both, %"], rows),
    ]
    publish("Coverage of the core", machine_line(), lines, record=chosen.record)
    return code or int(any(float(row[-1]) < _GOAL for row in rows))


def _measure(place: Path, tests: Sequence[str]) -> tuple[int, dict[str, Any]]:
    copy, config, report = copy_repository(place), place / "coverage.ini", place / "report.json"
    config.write_text(_CONFIG.format(place=place, copy=copy), encoding="utf-8")
    for name, (before, after) in _CHANGES.items():
        changed = copy / "pytest_kina" / name
        text = changed.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has changed: nothing of it would be measured"
        hook = _HOOK.format(packages=sysconfig.get_path("purelib"))
        changed.write_text(text.replace(before, after.format(hook=hook)), encoding="utf-8")
    coverage = [sys.executable, "-m", "coverage"]

    def run(*argv: str) -> int:
        return subprocess.run([*coverage, *argv], cwd=copy, env=environment_of(copy), check=False).returncode

    code = run("run", f"--rcfile={config}", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    for step in (["combine", "-q"], ["json", "-q", "-o", str(report)]):
        if run(*step[:1], f"--rcfile={config}", *step[1:]):
            raise RuntimeError(f"coverage {step[0]} failed")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return code, found


def _add(report: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, file in report["files"].items():
        further = other["files"].get(name)
        # The numbers of a file that was changed in between mean other lines.
        if further is None or _all_of(file) != _all_of(further):
            continue
        for missing, executed in (("missing_lines", "executed_lines"), ("missing_branches", "executed_branches")):
            reached = [each for each in file[missing] if each in further[executed]]
            file[missing] = [each for each in file[missing] if each not in reached]
            file[executed] += reached
        file["summary"] |= {
            "covered_lines": file["summary"]["num_statements"] - len(file["missing_lines"]),
            "covered_branches": file["summary"]["num_branches"] - len(file["missing_branches"]),
        }


def _all_of(file: Mapping[str, Any]) -> tuple[set[int], set[tuple[int, int]]]:
    branches = (*file["executed_branches"], *file["missing_branches"])
    return {*file["executed_lines"], *file["missing_lines"]}, {(begin, end) for begin, end in branches}


def _list_missing(report: Mapping[str, Any]) -> None:
    for name, file in sorted(report["files"].items()):
        branches = [f"{begin}->{end}" for begin, end in file["missing_branches"] if begin not in file["missing_lines"]]
        if file["missing_lines"] or branches:
            print(f"{name}: lines {file['missing_lines']}, branches {' '.join(branches)}")


def _by_part(report: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, file in report["files"].items():
        inside = "/".join(Path(name).parts[Path(name).parts.index("pytest_kina") + 1 :]).removesuffix(".py")
        part = max((each for each in _PARTS if f"{inside}/".startswith(f"{each}/")), key=len, default="the rest")
        for key, value in file["summary"].items():
            if isinstance(value, int):
                found[part][key] += value
    return found


def _row(part: Mapping[str, int]) -> list[str]:
    lines, branches = part["num_statements"], part["num_branches"]
    covered = part["covered_lines"] + part["covered_branches"]
    return [
        f"{part['covered_lines']} of {lines}",
        f"{part['covered_branches']} of {branches}",
        f"{100 * covered / max(1, lines + branches):.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
