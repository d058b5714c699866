"""What every pytest run loads: little. The parts that do the work come in with the first test that needs a cluster."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina import fixtures
from pytest_kina.settings import Settings

if TYPE_CHECKING:
    from pytest_kina.plugin.parts import Parts

MARK = "kina_cluster"
OURS = frozenset(name for name in vars(fixtures) if name.startswith("kina_"))
"""The names of our fixtures."""


class Lobby:
    """Sees which test and which fixture of ours is set up, and calls the parts in when one of them needs a cluster.

    Controllers of xdist do not see tests, plans and benchmark files are wanted in any case, and alerts are checked
    before any test: for these the parts are called in at the start.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.item: pytest.Item | None = None
        self.setting_up: tuple[pytest.FixtureDef[Any], pytest.FixtureRequest] | None = None
        self._parts: Parts | None = None

    def enter(self) -> Parts:
        """The parts, imported and registered at the first call."""
        if self._parts is None:
            from pytest_kina.plugin.parts import Parts

            self._parts = Parts(self)
            self._parts.register()
        return self._parts

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Call the parts in for the first test function with our fixtures or our mark."""
        wanted = MARK in metafunc.fixturenames or metafunc.definition.get_closest_marker(MARK) is not None
        if self._parts is None and wanted:
            # Whoever is registered during a hook call is not part of that call.
            self.enter().collection.pytest_generate_tests(metafunc)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Call the parts in for marks on what pytest does not parametrise: they have to be refused."""
        if self._parts is None and item.get_closest_marker(MARK) is not None:
            self.enter()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Call the parts in for marks that a hook has added where no test asks for a cluster: they are refused."""
        if self._parts is None and any(item.get_closest_marker(MARK) for item in items):
            self.enter().collection.refuse_late(config, items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note the running test."""
        self.item = item

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Note which fixture will hold the loan; a test may ask for one while it runs (``getfixturevalue``)."""
        if fixturedef.argname in OURS:
            self.enter()
            if fixturedef.argname == MARK:
                self.setting_up = (fixturedef, request)
        return (yield)
