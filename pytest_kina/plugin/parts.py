"""The parts that do the work, put together and registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.fixtures import KEEPER
from pytest_kina.plugin.asked import Asked
from pytest_kina.plugin.collection import Collection
from pytest_kina.plugin.keeper import Keeper
from pytest_kina.plugin.preparation import Preparation
from pytest_kina.plugin.xdist import XdistHooks, given_ticket, is_worker, role
from pytest_kina.plugin_benchmark import PLUGIN as BENCHMARK
from pytest_kina.plugin_benchmark import BenchmarkRows
from pytest_kina.plugin_gate import GatePlugin, rules_of
from pytest_kina.plugin_leaks import LeaksPlugin
from pytest_kina.plugin_metrics import MetricsPlugin
from pytest_kina.plugin_retries import RetriesPlugin
from pytest_kina.plugin_timings import TimingPlugin
from pytest_kina.run import Run

if TYPE_CHECKING:
    from pytest_kina.plugin.lobby import Lobby


class Parts:
    """Everything that a run with clusters needs in this process."""

    def __init__(self, lobby: Lobby) -> None:
        settings, self._config = lobby.settings, lobby.config
        run = Run(settings, worker=role(self._config), ticket=given_ticket(self._config))
        asked = Asked(settings.project)
        keeper = Keeper(lobby, run, asked)
        self._config.stash[KEEPER] = keeper
        self.collection = Collection(run, asked)
        timings = TimingPlugin(
            recorder=lambda: run.recorder,
            run_directory=lambda: run.directory if run.used else None,
            bench_json=settings.bench_json,
            slow_threshold=settings.slow_threshold,
            in_worker=is_worker(self._config),
        )
        self._named: dict[str, object] = {
            "kina-collection": self.collection,
            "kina-preparation": Preparation(self._config, run, asked),
            "kina-keeper": keeper,
            "kina-timings": timings,
            "kina-leaks": LeaksPlugin(run, keeper.holder),
            "kina-retries": RetriesPlugin(),
        }
        self._add_examiners(run, keeper, timings)
        self._named["kina-metrics"] = MetricsPlugin(run)

    def _add_examiners(self, run: Run, keeper: Keeper, timings: TimingPlugin) -> None:
        """What looks at the whole run, in the process that sees all of it.

        Of several first wrappers, the one registered last runs first: measurements, the gate, pytest-benchmark's rows.
        """
        if is_worker(self._config):
            return
        if self._config.pluginmanager.hasplugin("xdist"):
            self._named["kina-xdist"] = XdistHooks(run)
        if self._config.pluginmanager.hasplugin(BENCHMARK):
            self._named["kina-benchmark"] = BenchmarkRows(settle=keeper.settle, events=lambda: timings.timings().events)
        self._named["kina-gate"] = GatePlugin(run, settle=keeper.settle, timings=timings, rules=rules_of(run))

    def register(self) -> None:
        """Let their hooks be called from now on. Raises :class:`pytest.UsageError`."""
        for name, part in self._named.items():
            self._config.pluginmanager.register(part, name)
