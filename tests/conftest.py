"""What every test gets: an environment without the settings, the pool and the CI mark of whoever runs the tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cryptography.x509  # noqa: F401 - see below
import kubernetes.dynamic  # noqa: F401 - see below
import pytest
import yaml  # noqa: F401 - see below
from hypothesis import HealthCheck, settings

from tests.support.assets import Obtaining
from tests.support.leaks import LeakGate

# pytester takes what an in-process run has imported out of sys.modules again. Libraries with compiled parts do not survive
# being imported twice (PyYAML then finds no constructor for any tag), so they are there before the first such run.

_NEEDED = {"KINA_ASSETS"}  # where the real binaries are

# How long an example takes to make up or to run says how busy the machine is, and nothing about our code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Have the real binaries before the tests that run them, a SIGINT that interrupts, and nothing left at the end."""
    # Started in the background of a script, as CI may do it, every process below us would inherit an ignored SIGINT.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Obtaining(), "real-binaries")
    if sys.platform == "linux" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(LeakGate(), "leak-gate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Campaigns have bounds of their own; the time-out of pyproject.toml is for tests that have none."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def assets() -> str:
    """The directories of the real binaries, as ``KINA_ASSETS`` names them."""
    return os.environ["KINA_ASSETS"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No option from outside decides a test, and a test that forgets to name a root gets one of its own."""
    for name in [name for name in os.environ if name.startswith("KINA_") and name not in _NEEDED]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("KINA_HOME", str(_unused_home(tmp_path_factory)))


def _unused_home(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp() / "kina-home"
