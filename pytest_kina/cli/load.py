"""Put a load on a cluster of its own, and say what the API server made of it.

The cluster is leased like in a test run, so nobody else gets it meanwhile, and it is reset afterwards (--keep: it stays
as it is, until `pytest-kina down`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_kina.cli import up
from pytest_kina.cli.output import say, say_json
from pytest_kina.errors import SpecError
from pytest_kina.marks import ClusterRequest
from pytest_kina.run import Run
from pytest_kina.settings import Settings
from pytest_kina.spec import Isolation

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster
    from pytest_kina.load import LoadResult

HELP = "put a load on a cluster: many objects, changed at a given rate"

_PLAN = (
    ("namespaces", int, "N", "namespaces that the objects are spread over (default: 1)"),
    ("deployments", int, "N", "deployments"),
    ("replicas", int, "N", "pods of each deployment (default: 1)"),
    ("pods", int, "N", "bare pods"),
    ("config_maps", int, "N", "config maps"),
    ("events", int, "N", "events"),
    ("custom_resources", int, "N", "objects of a CustomResourceDefinition of the load's own"),
    ("size", int, "BYTES", "payload of a config map or custom resource (default: 1024)"),
    ("churn", float, "RATE", "objects to change or replace per second, when all are there"),
    ("seconds", float, "S", "how long to do that"),
    ("seed", int, "N", "the same seed makes the same requests (default: 0)"),
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes: the load, then the cluster, as ``up`` has it."""
    for name, kind, metavar, text in _PLAN:
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)
    command.add_argument("--rate", type=float, metavar="N", help="requests per second at most (default: 500)")
    command.add_argument("--no-wait", action="store_true", help="do not wait until the pods are Ready")
    command.add_argument("--keep", action="store_true", help="leave the cluster as it is then, for a look at it")
    up.add_arguments(command)


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Lease, load, report; 1 when a request failed for good. Raises what leasing and the API server raise."""
    from pytest_kina.load import RATE, Load, LoadPlan, check_rate

    given = {name: value for name, *_ in _PLAN if (value := getattr(chosen, name)) is not None}
    rate = RATE if chosen.rate is None else chosen.rate
    try:
        plan = LoadPlan(**given)
        check_rate(rate)
    except ValueError as error:
        raise SpecError(str(error), next_step="see `pytest-kina load --help`") from error
    spec = up.spec_of(chosen, settings)
    up.prepared(spec, settings)  # says what it obtains; a run of tests would do so in silence
    wanted = ClusterRequest(clusters=(("", spec),), isolation=Isolation.EXCLUSIVE, scope="function", holder="load")
    shown = Shown()
    with closing(Run(settings, worker="pytest-kina")) as process:
        process.prepare(wanted.specs)
        loan = process.lease(wanted, note="pytest-kina load")
        try:
            result = Load(loan.main, plan, per_second=rate).run(shown, wait=not chosen.no_wait)
            kept = chosen.keep and loan.leases[0].keep("pytest-kina load")
        finally:
            shown.done()
            loan.give_back()
    _report(result, loan.main, kept=kept, as_json=chosen.json)
    return 1 if result.failed else 0


class Shown:
    """Shows on standard error how far the load is: each new step at once, numbers once a second."""

    def __init__(self) -> None:
        self._what = ""
        self._since = self._last = time.monotonic()
        self._line = ""

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        """See :class:`pytest_kina.progress.Progress`."""
        now = time.monotonic()
        if what != self._what:
            self.done()
            self._what, self._since, self._last = what, now, float("-inf")
        per_second = step / (now - self._since) if now > self._since + 0.5 else 0.0
        speed = f", {per_second:.0f} per second" if per_second else ""
        self._line = f"{what} ({step} of {steps}{speed})\n" if steps else f"{what}\n"
        if now - self._last >= 1.0:
            self._last = now
            self._write()

    def done(self) -> None:
        """Show where the step has ended."""
        self._write()

    def _write(self) -> None:
        line, self._line = self._line, ""
        sys.stderr.write(line)


def _report(result: LoadResult, cluster: Cluster, *, kept: bool, as_json: bool) -> None:
    if as_json:
        about = {"cluster": cluster.name, "kubernetes": cluster.version, "kept": kept}
        say_json({**result.to_json(), **about})
        return
    say(_lines(result))
    if kept:
        say(
            [f"{cluster.name} is kept; kubeconfig: {cluster.kubeconfig}", f"Delete it: pytest-kina down {cluster.name}"]
        )


def _lines(result: LoadResult) -> Sequence[str]:
    done = ", ".join(f"{count} {what}" for what, count in result.done.items())
    lines = [f"done: {done or 'nothing'}", f"created in {result.create_seconds:.2f} s"]
    if result.ready_seconds is not None:
        lines.append(f"all {result.plan.all_pods} pods Ready after {result.ready_seconds:.2f} s")
    if result.churn_seconds:
        lines.append(f"changed for {result.churn_seconds:.2f} s")
    times = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in result.request_seconds.items())
    lines.append(f"{result.requests} requests; ms: {times}; {result.throttled} were refused for now (429, 503)")
    if result.windows:
        best = max(result.windows, key=lambda window: window.per_second)
        used = [window.at_once for window in result.windows]
        most = f"best {best.per_second:.0f} requests per second with {best.at_once}"
        lines.append(f"at once: {min(used)} to {max(used)}, {used[-1]} at the end; {most}")
    return [*lines, *_failures(result)]


def _failures(result: LoadResult) -> list[str]:
    return [f"{result.failed} requests FAILED, such as:", *map(str, result.examples)] if result.failed else []
