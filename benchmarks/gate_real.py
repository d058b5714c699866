"""What the gate says when one phase of a real cluster takes longer: 0, 20, 50 and 100 %.

    python -m benchmarks.gate_real [--phase startup] [--history 10] [--rounds 3] [--out results.json]

Every run is a whole ``pytest`` run of one test on the embedded provider, with ``--kina-gate=fail`` and everything that
comes with it: further clusters, and a second look. First ``--history`` runs without a delay fill a store; then
``--rounds`` runs per delay are judged against copies of it. The delay is a share of what the phase has just taken,
slept through inside the phase. Binaries come from KINA_ASSETS or the usual places.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch

DELAYS = (0, 20, 50, 100)
_PHASE, _PERCENT = "GATE_REAL_PHASE", "GATE_REAL_PERCENT"
_TEST = "def test_it(kina_cluster):\n    assert kina_cluster.version\n"
_COMMIT = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-q", "--allow-empty", "-m", "x")


class DelayedStopwatch(Stopwatch):
    """Makes one phase last longer by a share of itself."""

    def __init__(self, real: Stopwatch, phase: str, share: float) -> None:
        self._real = real
        self._phase = phase
        self._share = share

    @contextmanager
    def phase(self, phase: Phase, **attributes: Any) -> Iterator[None]:
        """Measure the block, and the sleep after it."""
        with self._real.phase(phase, **attributes):
            began = time.perf_counter()
            yield
            if phase.value == self._phase:
                time.sleep(self._share * (time.perf_counter() - began))


class Delayed(EmbeddedProvider):
    """The embedded provider with a delay, which the environment names."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Create like the embedded provider, in more time."""
        share = float(os.environ.get(_PERCENT, "0")) / 100
        super().create(spec, place, DelayedStopwatch(stopwatch, os.environ.get(_PHASE, ""), share), timeout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the history, judge the delays, print and write what the gate said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", default="startup", choices=["create", "startup", "kubectl_ready"])
    parser.add_argument("--history", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gate-real-") as scratch:
        project = _project(Path(scratch) / "project")
        for number in range(chosen.history):
            print(f"history {number + 1}/{chosen.history}: exit {_run(project, 'none', 0)['exit']}", flush=True)
        filled = Path(scratch) / "filled"
        shutil.copytree(project / ".kina-bench", filled)
        results = [_judged(project, filled, chosen.phase, delay) for delay in DELAYS for _ in range(chosen.rounds)]
    if chosen.out:
        chosen.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _project(directory: Path) -> Path:
    directory.mkdir()
    (directory / "test_it.py").write_text(_TEST)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=directory, check=True)
    subprocess.run(["git", *_COMMIT], cwd=directory, check=True)
    return directory


def _judged(project: Path, filled: Path, phase: str, delay: int) -> dict[str, Any]:
    shutil.rmtree(project / ".kina-bench")
    shutil.copytree(filled, project / ".kina-bench")
    result = {"phase": phase, "delay_percent": delay, **_run(project, phase, delay)}
    said = ", ".join(f"{name}: {verdict['name']} {verdict['ratio']}" for name, verdict in result["verdicts"].items())
    print(f"{phase} +{delay} %: exit {result['exit']} in {result['seconds']} s; {said}", flush=True)
    return result


def _run(project: Path, phase: str, delay: int) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [environment.get("PYTHONPATH")])])
    environment |= {"PYTHONPATH": path, _PHASE: phase, _PERCENT: str(delay)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:benchmark"]
    argv += ["--kina-provider=gate_real:Delayed", "--kina-gate=fail", "--kina-ttl=0", "--kina-bench-json=run.json"]
    began = time.monotonic()
    done = subprocess.run(argv, cwd=project, env=environment, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    verdicts = json.loads((project / "run.json").read_text())["kina"]["verdicts"]
    return {
        "exit": done.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "verdicts": {one["phase"]: _about(one) for one in verdicts},
    }


def _about(verdict: dict[str, Any]) -> dict[str, Any]:
    numbers = verdict["numbers"]
    ratio = numbers["ratio"] and round(numbers["ratio"], 2)
    return {"name": verdict["name"], "n": numbers["n"], "ratio": ratio, "reason": verdict["reason"]}


if __name__ == "__main__":
    sys.exit(main())
