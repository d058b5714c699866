"""A process that leases and uses clusters until it is told to stop: ``python -m tests.support.pool_worker <orders as JSON>``.

It proves with marks in each cluster's directory that nobody else uses an exclusive cluster meanwhile, that what it gets is clean,
and that a shared one is used by its run only. What it finds wrong goes to ``<out>/wrong``, what it did to ``<out>/<pid>.log``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from pytest_kina.errors import KinaError
from pytest_kina.pool import Lease
from pytest_kina.testing import backend_state, use_backend
from tests.support.histories import Use
from tests.support.pool_kit import Kit, want


class Worker:
    """One process of the campaign."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._out = Path(orders["out"])
        self._random = random.Random(orders["seed"])
        self._kit = Kit(
            Path(orders["root"]),
            run=orders["run"],
            size=orders["size"],
            ttl=900.0,
            lease_timeout=orders["lease_timeout"],
        )

    def work(self) -> None:
        """Tidy as a run does, wait for ``<out>/go``, then lease, use and release as often as ordered.

        Ends early when ``<out>/stop`` exists.
        """
        self._kit.pool.tidy()
        (self._out / f"{os.getpid()}.ready").touch()
        while not (self._out / "go").exists():
            time.sleep(0.005)
        for _ in range(self._orders["leases"]):
            if (self._out / "stop").exists():
                break
            isolation = self._random.choice(self._orders["isolations"])
            version = self._random.choice(self._orders["versions"])
            asked = time.monotonic()
            try:
                leases = self._kit.pool.lease([want(isolation, version=version)], note=f"{isolation} {version}")
            except KinaError as error:
                # Two killings in a row in the middle of a creation are, for the others, two failed builds.
                if "of this run died while they tried" in error.message:
                    time.sleep(0.05)
                    continue
                self._wrong(f"{type(error).__name__}: {error}")
                break
            begun = time.monotonic()
            for lease in leases:
                self._use(lease)
                used = Use(os.getpid(), isolation, lease.number, lease.name, asked, begun, time.monotonic())
                lease.release()
                with (self._out / f"{os.getpid()}.history").open("a", encoding="utf-8") as history:
                    history.write(json.dumps(used) + "\n")
        self._kit.pool.close()

    def _use(self, lease: Lease) -> None:
        shared = lease.want.shared
        me = f"run {self._kit.run}" if shared else f"process {os.getpid()} {time.monotonic_ns()}"
        state = backend_state(lease.directory)
        if state not in ({"clean", f"used by {me}"} if shared else {"clean"}):
            self._wrong(f"{lease!r} was handed out {state}")
        mark = lease.directory / "occupied"
        if not shared:
            self._occupy(mark)
        use_backend(lease.directory, me)
        time.sleep(self._random.uniform(0, self._orders["hold"]))
        if backend_state(lease.directory) != f"used by {me}":
            self._wrong(f"{lease!r} was changed while it was used: {backend_state(lease.directory)}")
        if not shared:
            mark.unlink()
        with (self._out / f"{os.getpid()}.log").open("a", encoding="utf-8") as log:
            log.write(f"{lease.want.isolation} {lease.name} {lease.start}\n")

    def _occupy(self, mark: Path) -> None:
        # A killed process leaves its mark; the mark names its process, so only a living one is a second user.
        try:
            with mark.open("x", encoding="utf-8") as stream:
                stream.write(str(os.getpid()))
        except FileExistsError:
            other = mark.read_text(encoding="utf-8")
            if other.isdecimal() and int(other) != os.getpid() and Path(f"/proc/{other}").exists():
                self._wrong(f"{mark.parent.name} is used by process {other} too")
            mark.write_text(str(os.getpid()), encoding="utf-8")

    def _wrong(self, what: str) -> None:
        with (self._out / "wrong").open("a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()}: {what}\n")


if __name__ == "__main__":
    Worker(json.loads(sys.argv[1])).work()
