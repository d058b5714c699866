"""Real pytest runs, each with a random process killed at a random moment; then a sweep, and the universal check.

    KINA_ASSETS=/path/to/binaries python -m benchmarks.kill_campaign --runs 200 [--seed 1] [--record]

Each round has a seed of its own, which decides everything that is random: serial or ``-n 3``, TTL 0 or 2 s, which
process (pytest, a worker, a supervisor, etcd, the API server, an idle helper), when, and which signal. When is a part
of the time that the quicker of two undisturbed runs took, or on a slow machine most of them would die before there is a
cluster. A round fails when

* a test saw what another run, or an exclusive user before it, had left in its cluster;
* the run did not end by itself;
* something was left after the sweep of the next run: a process, a record, a directory, a lock file, a temporary file.

The seed of every failed round is printed; ``--seed N --runs 1`` repeats it (its shape, not the scheduler's mood).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recording import machine_line, markdown_table, publish, spread
from pytest_kina.waiting import Deadline, wait_until
from tests.support.runs import Home, write_project
from tests.support.universal import Sweep, every_process, leftovers, processes_below, sweep

_PROJECT = """
import os
from pathlib import Path

import pytest

RUN = f"run-{os.environ['ROUND']}"


def marks(cluster):
    found = cluster.list("configmaps", namespace="default")
    return sorted(item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("run-"))


def mark(cluster, name):
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})


def never(found):
    if found:
        with open(os.environ["WRONG"], "a") as stream:
            stream.write(f"{os.environ['PYTEST_CURRENT_TEST']}: found {found}\\n")
    assert not found


@pytest.mark.kina_cluster(profile="api")
@pytest.mark.parametrize("number", range(4))
def test_shared(kina_cluster, kina_namespace, number):
    mark(kina_cluster, RUN)
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    names = [item["metadata"]["name"] for item in kina_namespace.list("configmaps")]
    never([name for name in names if name != "a"])
    never([name for name in marks(kina_cluster) if name != RUN])


@pytest.mark.kina_cluster(profile="api", isolation="exclusive")
@pytest.mark.parametrize("number", range(2))
def test_exclusive(kina_cluster, number):
    never(marks(kina_cluster))
    mark(kina_cluster, f"{RUN}-exclusive-{number}")
    assert len(marks(kina_cluster)) == 1
"""
_HANG = 240.0
_NOTICE = 2.0
_WARM = 2.0  # seconds of TTL in the rounds that keep their clusters
_PATIENCE = 30.0
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What happened in one round; ``wrong`` is empty when nothing was."""

    seed: int
    shape: str
    act: str
    victim: str
    sweep: Sweep
    wrong: tuple[str, ...]
    output: str


class Campaign:
    """Rounds on one root, as on a developer's machine: what one round leaves, the next one meets."""

    def __init__(self, place: Path, assets: str) -> None:
        project = place / "project"
        project.mkdir()
        write_project(project, {"test_it.py": _PROJECT})
        self.home = Home(root=place / "home", project=project, assets=assets)
        self._wrong = place / "wrong"
        self.usual = 0.0

    def calibrate(self) -> None:
        """See how long (seconds) a run takes that nobody disturbs. Raises :class:`RuntimeError` when it fails."""
        for workers in ("0", "3"):
            began = time.monotonic()
            process = self._start(0, workers, "0s")
            output, _ = process.communicate(timeout=_HANG)
            if process.returncode:
                raise RuntimeError(f"a run that nobody disturbed failed:\n{output}")
            self.usual = min(self.usual or _HANG, time.monotonic() - began)

    def round(self, seed: int) -> Round:
        """One run, one act, one sweep."""
        dice = random.Random(seed)
        workers, ttl = dice.choice(["0", "3"]), dice.choice(["0s", f"{_WARM:g}s"])
        self._wrong.unlink(missing_ok=True)
        process = self._start(seed, workers, ttl)
        act, victim = self._act(dice, process)
        wrong = []
        try:
            output, _ = process.communicate(timeout=_HANG)
        except subprocess.TimeoutExpired:
            wrong.append(f"the run did not end within {_HANG:g} s")
            process.kill()
            output, _ = process.communicate()
        self._workers_end()
        # Supervisors may notice by themselves; when nothing is left there is nothing to wait for.
        notice = Deadline(_NOTICE if ttl == "0s" else _NOTICE + _WARM)
        wait_until(lambda: not any(leftovers(self.home.root)), notice, interval=0.1)
        swept = sweep(self.home.root, _PATIENCE)
        wrong += [f"left: {line}" for line in swept.left]
        if self._wrong.exists():
            wrong += [f"dirty: {line}" for line in self._wrong.read_text(encoding="utf-8").splitlines()]
        shape = f"{'serial' if workers == '0' else '-n 3'}, TTL {ttl}"
        return Round(seed=seed, shape=shape, act=act, victim=victim, sweep=swept, wrong=tuple(wrong), output=output)

    def _start(self, seed: int, workers: str, ttl: str) -> subprocess.Popen[str]:
        return self.home.start(
            "-n" + workers,
            "-p",
            "no:benchmark",
            KINA_TTL=ttl,
            KINA_POOL_SIZE="2",
            KINA_LEASE_TIMEOUT="120s",
            ROUND=str(seed),
            WRONG=str(self._wrong),
        )

    def _act(self, dice: random.Random, process: subprocess.Popen[str]) -> tuple[str, str]:
        act, moment = dice.choice(_SIGNALS), dice.uniform(0.03, 1.0) * self.usual
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        tree = self._tree()
        if not tree:
            return f"nobody lived after {moment:.1f} s", "nobody"
        kind = dice.choice(sorted(set(tree.values())))
        pid = dice.choice(sorted(pid for pid, name in tree.items() if name == kind))
        try:
            os.kill(pid, act)
            if act is signal.SIGSTOP:
                time.sleep(dice.uniform(0.5, 3.0))
                os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return f"{act.name}, too late, after {moment:.1f} s", kind
        return f"{act.name} after {moment:.1f} s", kind

    def _tree(self) -> dict[int, str]:
        """Pid and kind of each process of the run and of the clusters."""
        clusters = processes_below(self.home.root)
        found = {pid: _kind(line) for pid, line in clusters.items()}
        return found | {pid: _pytest_kind(line) for pid, line in self._pytests().items() if pid not in clusters}

    def _pytests(self) -> dict[int, str]:
        wanted = b"KINA_HOME=" + os.fsencode(self.home.root)
        return {pid: line for pid, line, environ in every_process() if wanted in environ and pid != os.getpid()}

    def _workers_end(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._pytests() and time.monotonic() < deadline:
            time.sleep(0.05)


def _kind(line: str) -> str:
    for name, text in (("supervisor", "_supervisor.py"), ("idle helper", "pytest_kina._tidy")):
        if text in line:
            return name
    return Path(line.split(maxsplit=1)[0]).name


def _pytest_kind(line: str) -> str:
    return "pytest" if "-m pytest" in line else "worker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds; returns 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next one has the next number")
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    chosen = parser.parse_args(arguments)
    began, rounds = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="kina-kill-") as place:
        campaign = Campaign(Path(place), os.environ.get("KINA_ASSETS", ""))
        campaign.calibrate()
        for seed in range(chosen.seed, chosen.seed + chosen.runs):
            rounds.append(campaign.round(seed))
            _tell(rounds[-1])
        campaign.home.sweep()
    _publish(rounds, chosen.seed, time.monotonic() - began, record=chosen.record)
    return 1 if any(each.wrong for each in rounds) else 0


def _tell(each: Round) -> None:
    last = each.output.strip().splitlines()[-1:] or ["no output"]
    verdict = "WRONG" if each.wrong else "ok"
    print(f"seed {each.seed}: {each.shape}; {each.act}: {each.victim}; swept in {each.sweep.seconds:.2f} s: {verdict}")
    print(f"    {last[0]}", flush=True)
    if each.wrong:
        print("\n".join(f"    {line}" for line in each.wrong))
        print("\n".join(f"    | {line}" for line in each.output.splitlines()[-60:]), flush=True)


def _publish(rounds: Sequence[Round], seed: int, seconds: float, *, record: bool) -> None:
    by_victim = Counter(each.victim for each in rounds)
    failed = [each.seed for each in rounds if each.wrong]
    rows = [[victim, str(count)] for victim, count in sorted(by_victim.items())]
    sweeps = spread([each.sweep.seconds for each in rounds], 1000)
    span = f"{len(rounds)} rounds, seeds {seed} to {seed + len(rounds) - 1}, {seconds / 60:.0f} minutes"
    lines = [
        f"{span}. Rounds with something wrong: {len(failed)}{f', seeds {failed}' if failed else ''}.",
        f"Sweep by the next run, ms: median {sweeps[0]}, middle half {sweeps[1]}, range {sweeps[2]}.",
        "",
        *markdown_table(["killed, stopped or interrupted", "rounds"], rows),
    ]
    publish("Kill campaign", machine_line(), lines, record=record)


if __name__ == "__main__":
    sys.exit(main())
