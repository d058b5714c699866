"""The workload that providers are compared by: a cluster is made, runs its first Deployment, and is deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_kina.cycles import once
from pytest_kina.report.series import READY, samples
from pytest_kina.run import Run
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingEvent

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster

DEPLOYMENT = "deployment"
"""From a ready cluster to the first Deployment that is available, in a namespace of its own."""

WHOLE = "whole"
"""All of the workload: ``ready``, ``deployment`` where it is part of it, and ``delete``."""

PHASES = (Phase.CREATE.value, Phase.STARTUP.value, Phase.KUBECTL_READY.value, READY, DEPLOYMENT, Phase.DELETE.value)
_NAME = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One cluster: seconds by phase as far as they succeeded, and why the turn failed (empty: it did not).

    ``start`` is ``fresh`` or ``template``; ``busy``: other clusters of this machine were at work meanwhile.
    """

    seconds: Mapping[str, float]
    failure: str = ""
    start: str = ""
    busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is done with each cluster; without ``image`` no Deployment, for which there are ``timeout`` seconds."""

    image: str | None
    timeout: float

    def turn(self, run: Run, spec: ClusterSpec, number: int) -> Turn:
        """One cluster of ``spec``, from nothing to nothing. Raises nothing but what ends the process."""
        took: dict[str, float] = {}
        failure = ""
        try:
            said = once(
                run, spec, holder=f"bench {number}", note="pytest-kina bench", use=lambda it: self._use(it, took)
            )
        except Exception as error:  # a provider may be anybody's, and one that fails must not end the others
            failure, said = _said_by(error), _retired(run)
        events = run.recorder.drain() if run.recorder else []
        return _turn(events, took, failure or _undone(events, said), whole=self._whole)

    @property
    def _whole(self) -> tuple[str, ...]:
        return (READY, *([DEPLOYMENT] if self.image else []), Phase.DELETE.value)

    def _use(self, cluster: Cluster, took: dict[str, float]) -> None:
        if self.image is None:
            return
        began = time.perf_counter()
        namespace = cluster.create_namespace("bench")
        namespace.apply(_deployment(self.image))
        namespace.wait(f"deployment/{_NAME}", condition="Available", timeout=self.timeout)
        took[DEPLOYMENT] = time.perf_counter() - began


def _turn(events: list[TimingEvent], took: Mapping[str, float], failure: str, *, whole: tuple[str, ...]) -> Turn:
    found = {one.phase: one.seconds for one in samples(events) if one.event.ok} | {**took}
    seconds = {phase: found[phase] for phase in PHASES if phase in found}
    if not failure and all(part in seconds for part in whole):
        seconds[WHOLE] = sum(seconds[part] for part in whole)
    made = [event for event in events if event.phase is Phase.CREATE]
    return Turn(
        seconds=seconds,
        failure=failure,
        start=made[-1].start if made else "",
        busy=any(event.concurrency > 1 for event in made),
    )


def _undone(events: list[TimingEvent], said: list[str]) -> str:
    """Why a cluster that worked is a failure all the same: a phase, like its deletion, that did not succeed."""
    failed = [f"{event.phase.value} failed: {event.error}" for event in events if not event.ok]
    return "; ".join([*failed, *said]) if failed else ""


def _retired(run: Run) -> list[str]:
    try:
        return run.pool().retire()
    except Exception as error:  # as above
        return [_said_by(error)]


def _said_by(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _deployment(image: str) -> dict[str, Any]:
    labels = {"app": _NAME}
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": _NAME}, "spec": spec}
