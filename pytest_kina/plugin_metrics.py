"""Measures clusters when they are leased and given back, and each process that used some at its end."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_kina.errors import KinaError
from pytest_kina.run import Run

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster
    from pytest_kina.metrics.samples import Metric

_log = logging.getLogger(__name__)


class MetricsPlugin:
    """The hooks that measure; register one in every process, after the gate, which reads what they write."""

    def __init__(self, run: Run) -> None:
        from pytest_kina.metrics.usage import resident

        self._run = run
        self._resident = resident()
        self._began = time.monotonic()
        self._cpu = time.process_time()

    @pytest.hookimpl(trylast=True)
    def pytest_kina_cluster_ready(self, cluster: Cluster) -> None:
        """A cluster is leased, and nobody in this process has used it yet."""
        self._measure(cluster, "ready", probe=0)

    @pytest.hookimpl(trylast=True)
    def pytest_kina_cluster_release(self, cluster: Cluster) -> None:
        """A cluster is about to be given back."""
        self._measure(cluster, "release", probe=self._run.settings.probe_requests)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Measure this process at its end."""
        if self._run.recorder is not None:
            from pytest_kina.metrics.samples import Metric
            from pytest_kina.metrics.usage import usage

            own = usage([os.getpid()])
            self._write(
                Metric(
                    kind="process",
                    name=self._run.worker,
                    when="end",
                    worker=self._run.worker,
                    usage={**own.to_json(), "cpu_seconds": time.process_time() - self._cpu},
                    growth=max(0, own.rss - self._resident),
                    seconds=time.monotonic() - self._began,
                )
            )
        return (yield)

    def _measure(self, cluster: Cluster, when: str, probe: int) -> None:
        from pytest_kina.metrics.probing import measure

        try:
            self._write(measure(cluster, when=when, worker=self._run.worker, probe=probe))
        except (KinaError, OSError) as error:  # a cluster that has died is its test's failure, not ours
            _log.debug("%s could not be measured: %s", cluster.name, error)

    def _write(self, metric: Metric) -> None:
        from pytest_kina.metrics.samples import write

        try:
            write(self._run.directory, metric)
        except OSError as error:
            _log.warning("a measurement of %s could not be written: %s", metric.name, error)
