"""A machine that has nothing of ours: no binaries, no home, and a Go that cannot fetch anything."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_kina.binaries.platforms import Platform, current
from pytest_kina.binaries.releases import FAMILIES, Version
from pytest_kina.binaries.store import Entry, Store
from tests.support.release_server import PRINTS, ReleaseServer, executable, serving

GO_WITHOUT_MODULES = """#!/bin/sh
[ "$1 $2" = "env GOVERSION" ] && echo go1.26.9 && exit 0
echo "no module here" >&2
exit 1
"""


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that the developer has installed is seen; returns the only directory on PATH."""
    for name in ("KINA_ASSETS", "KUBEBUILDER_ASSETS", "XDG_DATA_HOME", "TEST_ASSET_ETCD", "TEST_ASSET_KUBE_APISERVER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "path"
    programs.mkdir()
    (programs / "go").write_text(GO_WITHOUT_MODULES)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return programs


@pytest.fixture
def here() -> Platform:
    """The platform that the tests run on."""
    return current()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "root"


@pytest.fixture
def store(root: Path, here: Platform) -> Store:
    """An empty store."""
    return Store(root, here)


@pytest.fixture
def release_server() -> Iterator[ReleaseServer]:
    """A server without any release."""
    with serving() as server:
        yield server


@pytest.fixture
def program(here: Platform) -> Callable[[Path, str, str], Path]:
    """Puts an executable of a component, which prints a version, into a directory."""

    def put(directory: Path, component: str, version: str) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / component
        path.write_bytes(executable(PRINTS[component].format(version), here.arch))
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def stored(store: Store, program: Callable[[Path, str, str], Path]) -> Callable[[str, str], Entry]:
    """Makes a complete entry of the store."""

    def make(family: str, version: str) -> Entry:
        parsed = Version.parse(version)
        with store.staging(family, parsed) as staging:
            for component in FAMILIES[family]:
                program(staging, component, version)
            return store.publish(staging, family, parsed, "the test")

    return make
