"""The hooks that a project may implement in its ``conftest.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_kina.alerts import Alert
    from pytest_kina.cluster import Cluster


@pytest.hookspec(firstresult=True)
def pytest_kina_default_spec(config: pytest.Config, path: Path) -> Mapping[str, Any] | None:
    """Change the default cluster spec for the tests in ``path``.

    Called at collection, in every process that collects, once per test file. Return spec keys (``version``,
    ``profile``, ``simulated_nodes``, …) that go over those of ``[tool.kina]`` and under those of marks, or None.
    The ``conftest.py`` nearest to the file is asked first.
    """


@pytest.hookspec
def pytest_kina_cluster_ready(cluster: Cluster) -> None:
    """A cluster has been leased by this process, and no test has used this lease yet.

    Called in the xdist worker that leased it, before the fixture returns. A shared cluster is seen by this hook in
    every worker that joins it, so do only what may be done again. An error fails the tests that wait for the cluster.
    """


@pytest.hookspec
def pytest_kina_cluster_release(cluster: Cluster) -> None:
    """A cluster is about to be given back by this process: all that used this lease has ended.

    Called in the xdist worker that leased it. A shared cluster may still be in use by others. An error is reported
    as the teardown error of the last test; the cluster is given back all the same.
    """


@pytest.hookspec
def pytest_kina_alert(config: pytest.Config, alert: Alert) -> None:
    """A rule of ``[[tool.kina.alerts]]`` was broken.

    Called once per rule and series in the xdist controller or the only process, after the last test, before the
    terminal summary.
    """
