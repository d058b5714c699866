"""The control-plane binaries for tests that run the real thing: obtained once, before any test and its time-out runs."""

from __future__ import annotations

import os
import sys
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


class Obtaining:
    """Makes the binaries of the default version available to everything below this process, as ``KINA_ASSETS``.

    They come from the store of whoever runs the tests (``KINA_HOME``), so that only the first session ever has to
    download or build them; each test has a root of its own besides.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Obtain the binaries when a selected test needs them."""
        if any(item.get_closest_marker("real_control_plane") for item in session.items):
            settings = for_command({}, Path.cwd())
            found = obtain(
                "1.36",
                COMPONENTS,
                root=settings.root,
                offline=settings.offline,
                explicit=settings.assets,
                mirror=settings.mirror,
                progress=_tell,
            )
            os.environ["KINA_ASSETS"] = os.pathsep.join(
                dict.fromkeys(str(path.parent) for path in found.paths.values())
            )


def _tell(what: str, step: int = 0, steps: int = 0) -> None:
    """Progress goes past pytest's capture: the first session ever waits for minutes, and must not look dead."""
    print(f"{what} ({step} of {steps})" if steps else what, file=sys.__stderr__, flush=True)
