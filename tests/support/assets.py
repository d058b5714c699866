"""The control-plane binaries for tests that run the real thing: obtained once, before any test and its time-out runs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pytest_kina.binaries import obtain
from pytest_kina.settings import for_command

COMPONENTS = (
    "etcd",
    "etcdutl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
)

COMPONENTS_OF_CLUSTERS = tuple(name for name in COMPONENTS if name != "kubectl")
_USUAL = "1.36"
_QUIET = 10.0
"""Seconds between two lines: each xdist worker tells, and a compiler moves many times a second."""


class Obtaining:
    """Makes the binaries of the default version, and of those that a mark names, available to everything below this process, as ``KINA_ASSETS``.

    They come from the store of whoever runs the tests (``KINA_HOME``), so that only the first session ever has to
    download or build them; each test has a root of its own besides.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Obtain the binaries when a selected test needs them."""
        tell = _Teller()
        selected = () if session.config.option.collectonly else session.items
        marks = [mark for item in selected if (mark := item.get_closest_marker("real_control_plane"))]
        settings = for_command({}, Path.cwd()) if marks else None
        found: dict[str, None] = {}
        for version in dict.fromkeys(version for mark in marks for version in mark.kwargs.get("versions", (_USUAL,))):
            assert settings is not None
            obtained = obtain(
                version,
                COMPONENTS if version == _USUAL else COMPONENTS_OF_CLUSTERS,
                root=settings.root,
                offline=settings.offline,
                explicit=settings.assets,
                mirror=settings.mirror,
                progress=tell,
            )
            found |= dict.fromkeys(str(path.parent) for path in obtained.paths.values())
        if found:
            os.environ["KINA_ASSETS"] = os.pathsep.join(found)


class _Teller:
    """Progress goes past pytest's capture: the first session ever waits for minutes, and must not look dead."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _QUIET
            print(f"{what} ({step} of {steps})" if steps else what, file=sys.__stderr__, flush=True)
