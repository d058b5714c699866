"""The hooks that a project may implement in its ``conftest.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
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
