"""Asking whether a Kubernetes version can be used on this machine as it is."""

from __future__ import annotations

from pathlib import Path

from pytest_kina.binaries.obtaining import obtain
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from pytest_kina.settings import for_command

CLUSTER = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
"""The components of a ``workloads`` cluster."""


def why_missing(version: str) -> str | None:
    """One sentence that says why clusters of ``version`` need a download or a build first, or None.

    For the ``skipif`` of a matrix. Asks the same places in the same order as a run in this directory does, without the
    network; takes milliseconds. Raises :class:`~pytest_kina.errors.SettingsError` when those settings are wrong.
    """
    settings = for_command({}, Path.cwd())
    try:
        obtain(version, CLUSTER, root=settings.root, offline=True, explicit=settings.assets, progress=silent)
    except BinaryError:
        command = f"pytest-kina binaries get --version {version}"
        return f"the binaries of Kubernetes {version} are not here; `{command}` obtains them"
    return None
