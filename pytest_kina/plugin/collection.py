"""Collection: marks become parameters, wrong ones end the run before it starts, equal needs run together."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence

import pytest

from pytest_kina.errors import KinaError, SpecError
from pytest_kina.plugin.asked import Asked, is_skipped
from pytest_kina.plugin.lobby import MARK
from pytest_kina.plugin.xdist import tell_controller
from pytest_kina.run import Run, few

_LATE = (
    "a mark that comes after pytest has parametrised the test (pytest.param(marks=...), add_marker) would do nothing\n"
    "Next step: name the cluster in a parameter, "
    "@pytest.mark.parametrize(('x', 'kina_cluster'), [(1, {'version': '1.35'})], indirect=['kina_cluster']); "
    "for all tests of a file, let pytest_kina_default_spec say it"
)


class Collection:
    """The hooks from the first test function to the final order, and the plan."""

    def __init__(self, run: Run, asked: Asked) -> None:
        self._run = run
        self._asked = asked
        self._problems: dict[str, str] = {}
        self._marks: dict[str, int] = {}
        """How many marks each test function had when it was parametrised by us."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Turn the marks of a test function into parameters of ``kina_cluster``."""
        definition = metafunc.definition
        if _parametrised_by_user(definition):
            return
        if MARK not in metafunc.fixturenames and not self._asked.marked(definition):
            return
        from pytest_kina.marks import default_spec, is_default, request_ids

        self._marks[definition.nodeid] = len(self._asked.marked(definition))
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
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Refuse wrong marks, then bring tests with equal needs together."""
        self._check(config, items)
        if not any(MARK in _parameters(item) for item in items):
            result = yield
            self.refuse_late(config, items)
            return result
        from pytest_kina.plugin.ordering import grouped, hidden_parameter

        with hidden_parameter(items):
            result = yield
        self.refuse_late(config, items)
        self._skip_unmet(config, items)
        self._validate(config, items)
        items[:] = grouped(items, self._asked.request)
        self._asked.count(items)
        return result

    def pytest_report_collectionfinish(self, items: list[pytest.Item]) -> list[str]:
        """Tell which clusters are there already, when the tests need some."""
        if not any(self._asked.request(item) for item in items):
            return []
        from pytest_kina.plugin.header import existing_lines

        return existing_lines(self._run.settings)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """With ``--kina-plan``: say what the run would need, and run nothing."""
        if not self._run.settings.plan:
            return None
        if session.testsfailed:
            raise session.Interrupted(f"no plan: {session.testsfailed} errors during collection")
        from pytest_kina.plugin.header import counted
        from pytest_kina.plugin.plan import plan_lines

        running = [item for item in session.items if not is_skipped(item)]
        requests = [self._asked.request(item) for item in running]
        lines = plan_lines(self._run, requests, verbosity=session.config.get_verbosity())
        if skipped := len(session.items) - len(running):
            lines.append(f"skipped: {counted(skipped, 'test')}, by a mark or because of its needs")
        if reporter := session.config.pluginmanager.getplugin("terminalreporter"):
            reporter.section("kina plan")
            for line in lines:
                reporter.write_line(line)
        return True

    def refuse_late(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Raises :class:`pytest.UsageError` that names every test with a mark that came too late to count."""
        late = [f"{item.nodeid}: {_LATE}" for item in items if self._marked_late(item)]
        _refuse(config, items, "wrong kina_cluster marks", late)

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
        listed = [f"{nodeid}: {problem}" for nodeid, problem in self._problems.items()]
        _refuse(config, items, "wrong kina_cluster marks", listed)

    def _marked_late(self, item: pytest.Item) -> bool:
        if not isinstance(item, pytest.Function) or item.parent is None or _parametrised_by_user(item):
            return False
        known = self._marks.get(f"{item.parent.nodeid}::{item.originalname}", 0)
        return len(self._asked.marked(item)) > known

    def _skip_unmet(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Skip the tests whose ``needs`` nobody here meets. Raises :class:`pytest.UsageError` for unknown providers."""
        problems = {}
        for item in items:
            request = self._asked.request(item)
            try:
                unmet = [why for spec in (request.specs if request else ()) if (why := self._run.unmet(spec))]
            except KinaError as error:
                problems[item.nodeid] = str(error)
                continue
            if unmet:
                item.add_marker(pytest.mark.skip(reason=unmet[0]))
        _refuse(config, items, "clusters that cannot be", [f"{nodeid}: {why}" for nodeid, why in problems.items()])

    def _validate(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Raises :class:`pytest.UsageError` that names what cannot be made, whoever makes it, and for which tests."""
        problems: dict[str, list[str]] = {}
        for (spec, isolation), tests in self._asked.uses(items).items():
            try:
                self._run.validate(spec, isolation)
            except KinaError as error:
                problems.setdefault(str(error), []).extend(tests)
        listed = [f"{few(list(dict.fromkeys(tests)))}: {problem}" for problem, tests in problems.items()]
        _refuse(config, items, "clusters that cannot be", listed)


def _refuse(config: pytest.Config, items: list[pytest.Item], headline: str, problems: Sequence[str]) -> None:
    if problems:
        items.clear()  # pytest goes on to its next hook even so
        text = "\n\n".join([f"{headline}:", *problems])
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
