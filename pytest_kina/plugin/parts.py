"""The parts that do the work, put together and registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.fixtures import KEEPER
from pytest_kina.plugin.asked import Asked
from pytest_kina.plugin.collection import Collection
from pytest_kina.plugin.keeper import Keeper
from pytest_kina.plugin.preparation import Preparation
from pytest_kina.plugin.xdist import XdistHooks, given_ticket, is_worker, role
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
        self._named: dict[str, object] = {
            "kina-collection": self.collection,
            "kina-preparation": Preparation(self._config, run, asked),
            "kina-keeper": keeper,
            "kina-timings": TimingPlugin(
                recorder=lambda: run.recorder,
                run_directory=lambda: run.directory if run.used else None,
                bench_json=settings.bench_json,
            ),
        }
        if self._config.pluginmanager.hasplugin("xdist") and not is_worker(self._config):
            self._named["kina-xdist"] = XdistHooks(run)

    def register(self) -> None:
        """Let their hooks be called from now on. Raises :class:`pytest.UsageError`."""
        for name, part in self._named.items():
            self._config.pluginmanager.register(part, name)
