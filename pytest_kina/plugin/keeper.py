"""Keeps the clusters that this process has leased: who gets them, how long they stay, what a failure shows of them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina import fixtures
from pytest_kina.errors import ApiError, KinaError
from pytest_kina.files import private_directory
from pytest_kina.plugin import failures
from pytest_kina.plugin.asked import Asked
from pytest_kina.plugin.lobby import OURS, Lobby
from pytest_kina.plugin.xdist import is_worker, tell_said
from pytest_kina.run import Loan, Run, Timings, slug

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster, Namespace
    from pytest_kina.load import Load, LoadResult
    from pytest_kina.plugin.courtesy import Courtesy

_EVIDENCE_BYTES = 20_000
_KEPT = "kina_kept"
_LOAD_NAME = 40
"""Characters; numbers of namespaces and objects are added to it."""
_failed = pytest.StashKey[bool]()
_namespace = pytest.StashKey["Namespace"]()
_kept = pytest.StashKey[list[str]]()


@contextmanager
def _importing_client() -> Iterator[None]:
    """Let a thread import what the handles need, a sixth of a second of work, while this one waits for its cluster.

    It has ended when the wait has: imports set filters of warnings, and so does pytest, for each phase of a test.
    """
    if "kubernetes.dynamic" in sys.modules:
        yield
        return
    thread = threading.Thread(target=_import_client, name="kina-client", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import_client() -> None:
    with suppress(Exception):  # whoever needs it meets the error
        import_module("kubernetes.dynamic")


@dataclass(slots=True, kw_only=True)
class _Held:
    """A loan, the fixture that holds it, and the end of its time: a test, a module, or (neither) whenever."""

    loan: Loan
    fixture: pytest.FixtureDef[Any]
    request: pytest.FixtureRequest
    test: str
    """The id of the test that asked for it."""
    for_test: bool
    names: set[str]
    """Fixtures of users that depend on the loan and outlive a test."""
    died: bool = False
    """True once a failed test has shown that a cluster of the loan is of no use any more."""

    @property
    def for_module(self) -> str:
        """The module that an exclusive or fresh loan is for, or empty."""
        wanted = self.loan.request
        return wanted.holder if wanted.scope == "module" and not self.for_test else ""


class Keeper:
    """The hooks and methods around the one loan of this process."""

    def __init__(self, lobby: Lobby, run: Run, asked: Asked) -> None:
        self.run = run
        self._lobby = lobby
        self._config = lobby.config
        self._asked = asked
        self._held: _Held | None = None
        self._courtesy: Courtesy | None = None
        self._places_kept: list[str] = []

    def clusters(self, main: Cluster) -> Mapping[str, Cluster]:
        """All clusters that are leased together with ``main``, by name."""
        assert self._held is not None, f"{main.name} is leased"
        return self._held.loan.clusters

    @contextmanager
    def lend(self, parameter: Any) -> Iterator[Loan]:
        """Lease what ``parameter`` says; without one, what the running test's marks say, for this test only."""
        item = self._lobby.item
        assert item is not None, "fixtures are set up for a test"
        assert self._lobby.setting_up is not None, "the lobby has seen the fixture's set-up"
        fixture, request = self._lobby.setting_up
        wanted = self._asked.resolve(item, parameter)
        with _importing_client():
            loan = self.run.lease(wanted, note=item.nodeid)
        for_test = parameter is None or not (wanted.shared or wanted.scope == "module")
        self._held = _Held(
            loan=loan, fixture=fixture, request=request, test=item.nodeid, for_test=for_test, names=set()
        )
        try:
            for cluster in loan.clusters.values():
                self._config.hook.pytest_kina_cluster_ready(cluster=cluster)
            yield loan
            if not (self._courtesy and self._courtesy.gave_back):
                for cluster in loan.clusters.values():
                    self._config.hook.pytest_kina_cluster_release(cluster=cluster)
        finally:
            self._held = None
            if self._courtesy:
                self._courtesy.forget()
            loan.give_back()

    @contextmanager
    def namespace(self, item: pytest.Item, cluster: Cluster) -> Iterator[Namespace]:
        """A namespace for one test; kept afterwards when ``--kina-keep`` says so."""
        namespace = cluster.create_namespace(item.nodeid, {"pytest-kina/test": item.nodeid})
        item.stash[_namespace] = namespace
        try:
            yield namespace
        finally:
            if not self._keeps(item):
                self._discard(namespace)

    def _discard(self, made: Namespace | Load) -> None:
        try:
            made.delete(wait=False)
        except ApiError:
            # A dead cluster takes its namespaces along, and has been explained where it made the test fail.
            if self._held is None or not self._held.loan.died():
                raise

    @contextmanager
    def loading(self, item: pytest.Item, cluster: Cluster) -> Iterator[Callable[..., LoadResult]]:
        """What puts a load on ``cluster``; what it made is removed afterwards, unless ``--kina-keep`` keeps it."""
        from pytest_kina.cluster import namespace_name
        from pytest_kina.load import RATE, Load, LoadPlan
        from pytest_kina.progress import silent

        made: list[Load] = []

        def load(*, per_second: float = RATE, wait: bool = True, **plan: Any) -> LoadResult:
            wanted = LoadPlan(**{"name": namespace_name(item.nodeid)[-_LOAD_NAME:].lstrip("-"), **plan})
            made.append(Load(cluster, wanted, per_second=per_second))
            return made[-1].run(silent, wait=wait)

        try:
            yield load
        finally:
            if not self._keeps(item):
                for each in made:
                    self._discard(each)

    def holder(self) -> tuple[bool, str]:
        """Whether the clusters leased now are shared, and else the test or module that they are leased for."""
        assert self._held is not None, "a cluster is leased"
        if self._held.loan.request.shared:
            return True, ""
        return False, self._held.for_module or self._held.test

    def timings(self, cluster: Cluster) -> Timings:
        """The stopwatch and the events of a leased cluster."""
        assert self._held is not None, f"{cluster.name} is leased"
        lease = next(lease for lease in self._held.loan.leases if lease.name == cluster.name)
        return Timings(self.run, cluster, lease)

    def artifacts(self, item: pytest.Item) -> Path:
        """The directory for one test's files, made at the first call."""
        self.run.pool()
        directory = self.run.directory / "artifacts" / slug(item.nodeid)
        return private_directory(directory)

    def settle(self) -> None:
        """Let the end of the run, as far as it is timed, happen now; not while a fixture still uses a cluster."""
        if self._held is None:
            self.run.retire()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Give a lease back before a test that does not need it, when somebody else could use it."""
        if (held := self._held) is None:
            return
        if self._courtesy and self._courtesy.gave_back:
            self._finish(held)
        elif self._asked.request(item) is None and not held.for_module:
            if self._in_the_way(held):
                self._finish(held)
            elif not held.names:
                self._be_courteous(held.loan)

    @pytest.hookimpl(wrapper=True, trylast=True)  # inside of pytest's capturing of what fixtures and hooks print
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
        """Give back what was leased for this test, or for the module that ends with it."""
        self._keep_for_person(item)
        try:
            yield
        finally:
            if self._courtesy:
                self._courtesy.end()
            if (held := self._held) is not None and (held.for_test or held.died or self._leaves_module(held, nextitem)):
                self._finish(held)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Note which fixtures depend on the loan and outlive a test."""
        value = yield
        if (held := self._held) is not None and fixturedef.scope != "function":
            ours = fixturedef.func.__module__ == fixtures.__name__
            if not ours and {*OURS, *held.names} & set(fixturedef.argnames):
                held.names.add(fixturedef.argname)
        return value

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show a failed test's clusters in its report, and carry what is kept to the controller."""
        report = yield
        if report.failed:
            item.stash[_failed] = True
            report.longrepr = failures.shortened(call, self._config) or report.longrepr
            self._explain(item, report)
        if kept := item.stash.get(_kept, None):
            setattr(report, _KEPT, kept)
            del item.stash[_kept]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what is kept, in the process that has the terminal."""
        self._places_kept += getattr(report, _KEPT, [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what is kept, and where; and what tidying found."""
        if self._places_kept:
            terminalreporter.section("kina: kept")
            for place in self._places_kept:
                terminalreporter.write_line(place)
            terminalreporter.write_line("Delete them with: pytest-kina down <cluster>")
        if self.run.said:
            terminalreporter.section("kina: tidied")
            for sentence in dict.fromkeys(self.run.said):
                terminalreporter.write_line(sentence)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Leave the pool; with TTL 0, the one who outlives all workers deletes what the run leaves behind."""
        if self._courtesy:
            self._courtesy.close()
        if is_worker(self._config):
            tell_said(self._config, self.run.said)
        else:
            self.run.retire()
        self.run.close()

    def _in_the_way(self, held: _Held) -> bool:
        pool = self.run.pool()
        # A waiter that comes during the test is served by the courtesy thread, but that must not pull a cluster away
        # from under the fixtures of users. So where this run needs several clusters, those make room beforehand.
        return pool.somebody_waits() or (bool(held.names) and self._asked.several and not pool.has_room())

    def _be_courteous(self, loan: Loan) -> None:
        if self._courtesy is None:
            from pytest_kina.plugin.courtesy import Courtesy

            self._courtesy = Courtesy(lambda: self.run.pool().somebody_waits())
        self._courtesy.begin(loan)

    def _leaves_module(self, held: _Held, nextitem: pytest.Item | None) -> bool:
        return bool(held.for_module) and (nextitem is None or self._asked.module(nextitem) != held.for_module)

    def _finish(self, held: _Held) -> None:
        held.fixture.finish(held.request)  # type: ignore[arg-type]  # the request it was set up with

    def _explain(self, item: pytest.Item, report: pytest.TestReport) -> None:
        if (held := self._used_by(item)) is None:
            return
        from pytest_kina.cluster import evidence

        died = held.loan.died()
        held.died = held.died or bool(died)
        for cluster in held.loan.clusters.values():
            namespace = item.stash.get(_namespace, None) if cluster is held.loan.main else None
            name = namespace.name if namespace else None
            text = evidence.collect(cluster, name, limit_bytes=_EVIDENCE_BYTES)
            if why := died.get(cluster.name):
                text = f"THIS CLUSTER HAS DIED: {why}{os.linesep}The next test gets another one.{os.linesep}{text}"
            report.sections.append((f"kina cluster {cluster.name}", f"{cluster.directory}{os.linesep}{text}"))

    def _used_by(self, item: pytest.Item) -> _Held | None:
        held = self._held
        return held if held and (held.for_test or self._asked.request(item) == held.loan.request) else None

    def _keep_for_person(self, item: pytest.Item) -> None:
        held = self._used_by(item)
        namespace = item.stash.get(_namespace, None)
        if held is None or not self._keeps(item) or (held.loan.request.shared and namespace is None):
            return
        notes = item.stash.setdefault(_kept, [])
        for lease, cluster in zip(held.loan.leases, held.loan.clusters.values(), strict=True):
            what = f"namespace {namespace.name}" if namespace and cluster is held.loan.main else "everything"
            try:
                kept = lease.keep(item.nodeid)
            except (KinaError, OSError) as error:  # the test is torn down all the same
                notes.append(f"{item.nodeid}: {cluster.name} is not kept: {error}")
                continue
            if kept:
                notes.append(f"{item.nodeid}: {what} in {cluster.name}, kubeconfig {cluster.kubeconfig}")
            else:
                notes.append(f"{item.nodeid}: {cluster.name} is not kept: no other slot is left, see --kina-pool-size")

    def _keeps(self, item: pytest.Item) -> bool:
        keep = self.run.settings.keep
        return keep == "always" or (keep == "failed" and item.stash.get(_failed, False))
