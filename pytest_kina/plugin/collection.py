"""Collection: marks become parameters, wrong ones end the run before it starts, equal needs run together."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

from pytest_kina.errors import SpecError
from pytest_kina.plugin.asked import MARK, Asked
from pytest_kina.plugin.ordering import grouped, hidden_parameter
from pytest_kina.plugin.xdist import tell_controller
from pytest_kina.run import Run


class Collection:
    """The hooks from the first test function to the final order, and the plan."""

    def __init__(self, run: Run, asked: Asked) -> None:
        self._run = run
        self._asked = asked
        self._problems: dict[str, str] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Turn the marks of a test function into parameters of ``kina_cluster``."""
        definition = metafunc.definition
        if _parametrised_by_user(definition):
            return
        if MARK not in metafunc.fixturenames and not self._asked.marked(definition):
            return
        from pytest_kina.marks import default_spec, is_default, request_ids

        try:
            wanted = self._asked.requests(definition)
            default = default_spec(self._asked.defaults(definition))
        except SpecError as error:
            self._problems[definition.nodeid] = str(error)
            return
        hidden = len(wanted) == 1 and is_default(wanted[0], default)
        ids = [pytest.HIDDEN_PARAM] if hidden else request_ids(wanted, default)
        if MARK not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, MARK)
        metafunc.parametrize(MARK, wanted, indirect=True, ids=ids, scope="session")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Let a mark imply the fixture, also where pytest has recomputed the names after parametrising."""
        names = getattr(item, "fixturenames", None)
        if names is not None and MARK in _parameters(item) and MARK not in names:
            names.insert(0, MARK)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
        """Refuse wrong marks, then bring tests with equal needs together."""
        self._check(config, items)
        with hidden_parameter(items):
            yield
        items[:] = grouped(items, self._asked.request)
        self._asked.count(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """With ``--kina-plan``: say what the run would need, and run nothing."""
        if not self._run.settings.plan:
            return None
        if session.testsfailed:
            raise session.Interrupted(f"no plan: {session.testsfailed} errors during collection")
        from pytest_kina.plugin.plan import plan_lines

        lines = plan_lines(self._run, [self._asked.request(item) for item in session.items])
        if reporter := session.config.pluginmanager.getplugin("terminalreporter"):
            reporter.section("kina plan")
            for line in lines:
                reporter.write_line(line)
        return True

    def _check(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Raises :class:`pytest.UsageError` that names every test whose request is wrong."""
        for item in items:
            if _cannot_be_parametrised(item) and self._asked.marked(item):
                self._problems[item.nodeid] = (
                    "a unittest.TestCase cannot have parameters, so the mark would do nothing\n"
                    "Next step: write it as a plain test class or function"
                )
            try:
                self._asked.request(item)
            except SpecError as error:
                self._problems[item.nodeid] = str(error)
        if self._problems:
            items.clear()  # pytest goes on to its next hook even so
            listed = [f"{nodeid}: {problem}" for nodeid, problem in self._problems.items()]
            text = "wrong kina_cluster marks:\n\n" + "\n\n".join(listed)
            tell_controller(config, text)
            raise pytest.UsageError(text)


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _parametrised_by_user(definition: pytest.Item) -> bool:
    return any(MARK in _names(mark) for mark in definition.iter_markers("parametrize"))


def _names(mark: pytest.Mark) -> list[str]:
    names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def _cannot_be_parametrised(item: pytest.Item) -> bool:
    unittest = sys.modules.get("unittest")  # whoever has a TestCase has imported it
    case = getattr(unittest, "TestCase", ())
    return isinstance(item, pytest.Function) and item.cls is not None and issubclass(item.cls, case)
