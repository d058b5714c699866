"""Many real processes on one pool: started, killed, stopped and continued by a seeded random generator."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.histories import Use, read_histories
from tests.support.pool_kit import run_id

REPOSITORY = Path(__file__).parents[2]
_SCHEMA = {
    "size": 3,
    "leases": 20,
    "hold": 0.02,
    "isolations": ["exclusive"],
    "versions": ["1.36"],
    "lease_timeout": 60.0,
}


@dataclass
class Campaign:
    """Starts workers on the pool in ``root``; ends them all, however the test goes."""

    root: Path
    out: Path
    orders: dict[str, Any] = field(default_factory=dict)
    fake: Path | None = None
    seed: int = 1
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.wait()

    def start(self, run: str = "", **orders: Any) -> subprocess.Popen[bytes]:
        """Start one worker of a run."""
        self.seed += 1
        given = _SCHEMA | self.orders | orders
        given |= {"root": str(self.root), "out": str(self.out), "run": run or run_id(), "seed": self.seed}
        argv = [sys.executable, "-m", "tests.support.pool_worker", json.dumps(given)]
        fake = {"KINA_FAKE": str(self.fake)} if self.fake else {}
        worker = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, env=os.environ | fake)
        self.workers.append(worker)
        return worker

    def go(self) -> None:
        """Let the workers begin at one moment, when all of them are ready."""
        while len(list(self.out.glob("*.ready"))) < len(self.workers):
            assert all(worker.poll() is None for worker in self.workers), "a worker ended before it was ready"
            time.sleep(0.01)
        (self.out / "go").touch()

    def finish(self) -> None:
        """Wait for the workers to do all their leases; a worker that failed fails the test."""
        codes = [worker.wait() for worker in self.workers]
        assert not any(codes), f"workers ended with {codes}: {self.wrong()}"

    def disturb(self, deaths: int, stops: int) -> None:
        """Kill and stop workers at random moments; the killed are replaced by workers of the same run."""
        dice = random.Random(self.seed)
        acts = [signal.SIGKILL] * deaths + [signal.SIGSTOP] * stops
        dice.shuffle(acts)
        for act in acts:
            time.sleep(dice.uniform(0.02, 0.2))
            victim = dice.choice([worker for worker in self.workers if worker.poll() is None])
            victim.send_signal(act)
            if act is signal.SIGSTOP:
                time.sleep(dice.uniform(0.02, 0.2))
                victim.send_signal(signal.SIGCONT)
            else:
                victim.wait()
                self.workers.remove(victim)
                self.start(json.loads(victim.args[-1])["run"])  # type: ignore[index]

    def stop(self) -> None:
        """Let all workers end after the lease that they have."""
        (self.out / "stop").touch()
        self.finish()

    def wrong(self) -> str:
        """What the workers found wrong; empty: nothing."""
        found = self.out / "wrong"
        return found.read_text(encoding="utf-8") if found.exists() else ""

    def histories(self) -> list[Use]:
        """When who used which cluster, of all uses that came to their end."""
        return read_histories(self.out)

    def uses(self) -> list[list[str]]:
        """One entry per use of a cluster: isolation, cluster, how it came about."""
        logs = sorted(self.out.glob("*.log"))
        return [line.split() for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
