"""Ephemeral Kubernetes clusters for pytest.

The package is cheap to import: public names are resolved on first access, so that loading the plugin costs no
more than the standard library modules that pytest has loaded already.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Cluster": "pytest_kina.cluster",
    "ClusterSpec": "pytest_kina.spec",
    "KinaError": "pytest_kina.errors",
    "Namespace": "pytest_kina.cluster",
    "TimingEvent": "pytest_kina.timing",
}

__all__ = ["Cluster", "ClusterSpec", "KinaError", "Namespace", "TimingEvent", "__version__"]

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster, Namespace
    from pytest_kina.errors import KinaError
    from pytest_kina.spec import ClusterSpec
    from pytest_kina.timing import TimingEvent


def __getattr__(name: str) -> Any:
    """Resolve a public name on first access (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
