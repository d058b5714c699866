"""Finds what tests leave in clusters outside of namespaces, and says so at the end of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina.errors import KinaError
from pytest_kina.run import Run

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster
    from pytest_kina.cluster.leaks import Baseline

_log = logging.getLogger(__name__)
_MOST = 50


class LeaksPlugin:
    """The hooks around a lease. ``request`` is what the process has leased now: whether it is shared, else for whom.

    Shared clusters are always looked at when they are given back; the others, and what has been removed, only with
    ``--kina-find-leaks``, since they are reset or deleted anyway.
    """

    def __init__(self, run: Run, holder: Callable[[], tuple[bool, str]]) -> None:
        self._run = run
        self._holder = holder
        self._all = run.settings.find_leaks
        self._baselines: dict[str, Baseline] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_kina_cluster_ready(self, cluster: Cluster) -> None:
        """Remember the moment, after all other implementations of this hook: what they install is wanted."""
        from pytest_kina.cluster import leaks

        shared, _ = self._holder()
        if not (shared or self._all):
            return
        try:
            if shared:
                taken = leaks.shared_baseline(self._run.directory, cluster.connection, cluster.name, whole=self._all)
            else:
                taken = leaks.Baseline.take(cluster.connection, whole=self._all)
            self._baselines[cluster.name] = taken
        except (KinaError, OSError) as error:  # a cluster that does not answer is its test's failure, not ours
            _log.debug("%s has no baseline: %s", cluster.name, error)

    @pytest.hookimpl(trylast=True)
    def pytest_kina_cluster_release(self, cluster: Cluster) -> None:
        """Compare, after all other implementations of this hook: what they remove is gone."""
        from pytest_kina.cluster import leaks

        baseline = self._baselines.pop(cluster.name, None)
        if baseline is None:
            return
        began = time.time()
        try:
            found = baseline.leaks(cluster.connection, cluster=cluster.name, test=self._holder()[1])
            leaks.write(self._run.directory, self._run.worker, cluster=cluster.name, began=began, leaks=found)
        except (KinaError, OSError) as error:  # same
            _log.debug("%s was not searched for leaks: %s", cluster.name, error)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name what all processes have found."""
        if not self._run.used:
            return
        from pytest_kina.cluster import leaks

        found = leaks.read(self._run.directory)
        if not found:
            return
        terminalreporter.section("kina: left behind")
        for leak in found[:_MOST]:
            terminalreporter.write_line(str(leak))
        if len(found) > _MOST:
            terminalreporter.write_line(f"and {len(found) - _MOST} more in {self._run.directory / 'leaks'}")
        if not self._all:
            terminalreporter.write_line("More with --kina-find-leaks: what was removed, and exclusive clusters.")
