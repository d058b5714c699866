"""The reset grade *sweep*: the processes and keys stay, and what was added is deleted.

It fences nobody: certificates and tokens of the former holder stay good. Whatever is odd is left to a restore.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_kina.cluster import Cluster
from pytest_kina.cluster.sweeping import Inventory, Unswept
from pytest_kina.errors import KinaError
from pytest_kina.files import peek_json, write_json
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.waiting import Deadline

_SCHEMA = 1
_CANARY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "kina-canary"},
    "spec": {"containers": [{"name": "canary", "image": "registry.invalid/canary"}]},
}


def remember(directory: Path) -> None:
    """Keep what the cluster in ``directory`` holds, before anybody uses it. Raises KinaError and OSError."""
    inventory = Inventory.take(Cluster.open(directory).connection)
    write_json(Layout(directory).inventory, _SCHEMA, inventory.to_json())


def attempt(directory: Path, deadline: Deadline) -> str | None:
    """Sweep the cluster, and prove that it works and is what it was; why that cannot be done, else None."""
    layout = Layout(directory)
    try:
        if layout.simulated.stat().st_size:
            return "something was simulated"
        inventory = Inventory.from_json(peek_json(layout.inventory, _SCHEMA) or {})
        cluster = Cluster.open(directory)
        inventory.sweep(cluster.connection, deadline)
        _prove(cluster, deadline)
        inventory.sweep(cluster.connection, deadline)
        for log in layout.logs.glob("*.log"):  # they are open for appending, so their writers go on at the beginning
            os.truncate(log, 0)
    except (Unswept, KinaError, OSError) as error:
        return str(error)
    except (LookupError, TypeError, ValueError):
        return f"{layout.inventory.name} does not say what was there"
    return None


def _prove(cluster: Cluster, deadline: Deadline) -> None:
    """A new namespace gets what controllers make, and a pod in it runs; the next sweep removes both."""
    namespace = cluster.create_namespace("kina-canary")
    if cluster.spec.simulated_nodes:
        namespace.apply(_CANARY)
        namespace.wait("pod/kina-canary", timeout=max(deadline.remaining, 0.001))
