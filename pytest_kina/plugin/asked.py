"""What each test asks for: marks, parameters and defaults resolved to requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kina.plugin.lobby import MARK
from pytest_kina.settings import Project

if TYPE_CHECKING:  # `marks` is imported in bodies: runs without clusters do not need it
    from pytest_kina.marks import ClusterRequest, Defaults, Mark
    from pytest_kina.spec import ClusterSpec, Isolation

_request: pytest.StashKey[ClusterRequest | None] = pytest.StashKey()


class Asked:
    """Resolves tests of one project to cluster requests, and remembers how many different ones there are."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._defaults: dict[Path, Defaults] = {}
        self.several = False
        """True when the selected tests need more than one kind of cluster."""

    def marked(self, node: pytest.Item) -> list[Mark]:
        """The marks of a test, closest first."""
        return [(mark.args, mark.kwargs) for mark in node.iter_markers(MARK)]

    def requests(self, node: pytest.Item) -> list[ClusterRequest]:
        """What the marks of a test, or of a test function before it is parametrised, ask for.

        Raises :class:`~pytest_kina.errors.SpecError`.
        """
        from pytest_kina.marks import requests

        return requests(self.marked(node), self.defaults(node), test=node.nodeid, module=self.module(node))

    def request(self, item: pytest.Item) -> ClusterRequest | None:
        """What the parameter of a test asks for; None when it does not say that it needs a cluster.

        Raises :class:`~pytest_kina.errors.SpecError`.
        """
        if _request not in item.stash:
            parameters: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
            asks = MARK in parameters
            item.stash[_request] = self.resolve(item, parameters[MARK]) if asks else None
        return item.stash[_request]

    def resolve(self, item: pytest.Item, parameter: Any) -> ClusterRequest:
        """The request in ``parameter``: ours, a user's mapping of keys, or None for the marks alone.

        Raises :class:`~pytest_kina.errors.SpecError`.
        """
        from pytest_kina.marks import ClusterRequest, request_from_parameter

        if isinstance(parameter, ClusterRequest):
            return parameter
        if parameter is None:
            return self.requests(item)[0]
        return request_from_parameter(
            parameter, self.marked(item), self.defaults(item), test=item.nodeid, module=self.module(item)
        )

    def defaults(self, node: pytest.Item) -> Defaults:
        """Default and named specs for the file of a test. Raises :class:`~pytest_kina.errors.SpecError`."""
        from pytest_kina.marks import Defaults, check_keys

        if node.path not in self._defaults:
            changes = node.ihook.pytest_kina_default_spec(config=node.config, path=node.path)
            check_keys(changes or {}, f"pytest_kina_default_spec for {node.path}")
            spec = {**self._project.spec, **(changes or {})}
            self._defaults[node.path] = Defaults(spec=spec, named=self._project.clusters, base=node.config.rootpath)
        return self._defaults[node.path]

    def module(self, item: pytest.Item) -> str:
        """The id of the module of a test."""
        module = item.getparent(pytest.Module)
        return module.nodeid if module else item.nodeid

    def uses(self, items: Iterable[pytest.Item]) -> dict[tuple[ClusterSpec, Isolation], list[str]]:
        """What those ``items`` that no mark skips need: each spec and isolation with the ids of its tests."""
        needed: dict[tuple[ClusterSpec, Isolation], list[str]] = {}
        for item in items:
            if not is_skipped(item) and (wanted := self.request(item)):
                for spec in dict.fromkeys(wanted.specs):
                    needed.setdefault((spec, wanted.isolation), []).append(item.nodeid)
        return needed

    def specs(self, items: Iterable[pytest.Item]) -> dict[ClusterSpec, list[str]]:
        """Like :meth:`uses`, whatever the isolation."""
        needed: dict[ClusterSpec, list[str]] = {}
        for (spec, _), tests in self.uses(items).items():
            needed.setdefault(spec, []).extend(tests)
        return needed

    def count(self, items: Iterable[pytest.Item]) -> None:
        """Note whether ``items`` need more than one kind of cluster."""
        wanted = {(request.clusters, request.isolation) for item in items if (request := self.request(item))}
        self.several = len(wanted) > 1


def is_skipped(item: pytest.Item) -> bool:
    """Whether a mark says already now that the test will not run (``skipif`` with a string is decided later)."""
    conditions = [
        mark.kwargs.get("condition", mark.args[0] if mark.args else "") for mark in item.iter_markers("skipif")
    ]
    return item.get_closest_marker("skip") is not None or any(c for c in conditions if not isinstance(c, str))
