"""One test on two Kubernetes versions.

The second version is skipped where its binaries are not on this machine yet;
``pytest-kina binaries get 1.35`` fetches or builds them once.
"""

import os
from pathlib import Path

import pytest

from pytest_kina import Cluster, Namespace
from pytest_kina.binaries import obtain
from pytest_kina.errors import BinaryError
from pytest_kina.pool import open_root
from pytest_kina.progress import silent


def why_not(version: str) -> str:
    """The reason why ``version`` cannot be used offline, or nothing."""
    home = os.environ.get("KINA_HOME")
    root = open_root(Path(home) if home else None)
    try:
        obtain(version, ["etcd", "kube-apiserver"], root=root.path, offline=True, progress=silent)
    except BinaryError as error:
        return str(error)
    return ""
