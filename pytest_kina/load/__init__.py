"""Load on a cluster: many objects of many kinds, made and changed at a rate that the API server can bear."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from pytest_kina.errors import Conflict, NotFound
from pytest_kina.load.operations import LABEL, Operations, definition
from pytest_kina.load.plan import LoadPlan
from pytest_kina.load.sending import Sender
from pytest_kina.load.throttle import Pace, Window
from pytest_kina.waiting import Deadline

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster
    from pytest_kina.progress import Progress

__all__ = ["RATE", "Load", "LoadPlan", "LoadResult", "check_rate"]

RATE = 500.0
"""Requests per second at most, unless said otherwise."""
_SECONDS_PER_POD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What came of a load. Times are in seconds.

    ``done`` counts operations (``create pods``); ``ready_seconds`` is from the first request until all pods were Ready
    (None: not waited for); ``request_seconds`` has the quantiles of single requests; ``throttled`` requests were
    refused with 429 or 503 and sent again; ``windows`` is what was measured at each concurrency, in order.
    """

    plan: LoadPlan
    done: Mapping[str, int]
    create_seconds: float
    churn_seconds: float
    ready_seconds: float | None
    request_seconds: Mapping[str, float]
    requests: int
    throttled: int
    failed: int
    examples: tuple[str, ...]
    windows: tuple[Window, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("plan", "windows", "examples")}
        windows = [{name: getattr(each, name) for name in each.__slots__} for each in self.windows]
        return {**plain, "plan": self.plan.to_json(), "windows": windows, "examples": list(self.examples)}


class Load:
    """One load on one cluster: :meth:`run` makes it, :meth:`delete` removes it."""

    def __init__(self, cluster: Cluster, plan: LoadPlan, *, per_second: float = RATE) -> None:
        check_rate(per_second)
        self.plan = plan
        self._cluster = cluster
        self._operations = Operations(plan)
        self._per_second = per_second

    def run(self, progress: Progress, *, wait: bool = True) -> LoadResult:
        """Make everything, change it, and with ``wait`` return when all pods are Ready (where controllers run).

        Raises :class:`~pytest_kina.errors.Conflict` when there is a load of this name already,
        :class:`~pytest_kina.errors.ApiError` when the server ends, and WaitTimeoutError.
        """
        plan, connection = self.plan, self._cluster.connection
        self._prepare()
        with closing(Sender(connection.client, per_second=self._per_second, cluster=self._cluster.name)) as sender:
            began = time.monotonic()
            what = f"creating {plan.objects} objects"
            sender.send(self._operations.creations(), told=lambda count: progress(what, count, plan.objects))
            created = time.monotonic()
            ready = self._await_pods(began, progress) if wait and connection.traits.controllers else None
            churned = self._churn(sender, progress)
        return self._result(sender, created - began, churned, ready)

    def delete(self, *, wait: bool = False, timeout: float = 120.0) -> None:
        """Remove all that :meth:`run` has made; with ``wait``, within ``timeout`` seconds. Absent is success."""
        for name in self._operations.namespaces():
            with suppress(NotFound):
                self._cluster.namespace(name).delete(wait=wait, timeout=timeout)
        if self.plan.custom_resources:
            with suppress(NotFound):
                self._cluster.delete("crd", definition(self.plan)["metadata"]["name"], wait=wait, timeout=timeout)

    def _prepare(self) -> None:
        connection = self._cluster.connection
        kind = connection.discovery.find("namespaces", "v1")
        for name in self._operations.namespaces():
            call = connection.api.call("create", f"namespaces/{name}")
            body = {"metadata": {"name": name, "labels": {LABEL: self.plan.name}}}
            try:
                connection.api.request("POST", kind.path(), call, body=body)
            except Conflict as error:
                raise Conflict(
                    f"there is a load called {self.plan.name!r} on {self._cluster.name} already: {error.message}",
                    next_step="delete it, or give this one another name",
                    status=409,
                ) from error
        for name in self._operations.namespaces():
            connection.await_accounts(name, Deadline(30.0))
        if self.plan.custom_resources:
            self._cluster.apply(definition(self.plan))

    def _await_pods(self, began: float, progress: Progress) -> float | None:
        pods = self.plan.all_pods
        if not pods:
            return None
        progress(f"waiting for {pods} pods to be Ready")
        self._cluster.wait(
            "pods",
            selector=f"{LABEL}={self.plan.name}",
            condition="Ready",
            count=pods,
            timeout=60.0 + pods * _SECONDS_PER_POD,
        )
        return time.monotonic() - began

    def _churn(self, sender: Sender, progress: Progress) -> float:
        """Change objects round by round; each round begins when the one before has been answered."""
        plan, began, count = self.plan, time.monotonic(), 0
        if not plan.churn:
            return 0.0
        pace, steps = Pace(plan.churn), round(plan.churn * plan.seconds)
        for operations in self._operations.rounds():
            if count >= steps or time.monotonic() >= began + plan.seconds:
                break
            before = count
            count += sender.send(
                operations[: steps - count],
                pace=pace,
                until=began + plan.seconds,
                told=lambda more, before=before: progress("changing objects", before + more, steps),  # type: ignore[misc]
            )
        return time.monotonic() - began

    def _result(self, sender: Sender, created: float, churned: float, ready: float | None) -> LoadResult:
        tally = sender.tally
        return LoadResult(
            plan=self.plan,
            done=dict(sorted(tally.done.items())),
            create_seconds=created,
            churn_seconds=churned,
            ready_seconds=ready,
            request_seconds=_quantiles(tally.seconds),
            requests=len(tally.seconds),
            throttled=tally.throttled,
            failed=tally.failed,
            examples=tuple(tally.examples),
            windows=tuple(sender.concurrency.windows),
        )


def check_rate(per_second: float) -> None:
    """Raise :class:`ValueError` for a rate of requests that makes no sense."""
    if not 0 < per_second <= 100_000:
        raise ValueError(f"rate: expected more than 0 and at most 100000 requests per second, got {per_second:g}")


def _quantiles(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"median": median(seconds)} if seconds else {}
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"median": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
