"""Simulated hosts, and a real cluster that exists already; whatever a test does there, nothing of the user's is touched."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.providers import Place, Provider, find
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder
from tests.support.clusters import embedded_cluster
from tests.support.simulators import Host

USERS_OWN = b"# mine\napiVersion: v1\nkind: Config\ncurrent-context: work\n"
TIMEOUT = 60.0


class User:
    """Somebody on a simulated host: its tools are on PATH, its home is HOME."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.recorder = TimingRecorder(run="contract", worker="main")
        self._folder = folder

    def place(self, name: str = "") -> Place:
        """A new place for a cluster, as the pool makes one."""
        name = name or f"kina-abcdef-0-{secrets.token_hex(4)}"
        directory = self._folder / "clusters" / name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Place(name=name, directory=directory, slot_lock=self._folder / "0.lock", tidy=("true",))

    def provider(self, name: str = "kina") -> Provider:
        """A provider that has not looked at anything yet."""
        return find(name)

    def create(self, place: Place, provider: str = "kina", timeout: float = TIMEOUT, **spec: Any) -> None:
        """Create a cluster."""
        self.provider(provider).create(ClusterSpec(**spec), place, self.recorder.bind(), timeout)


@pytest.fixture(autouse=True)
def users_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a kubeconfig, which no test of a provider may change, nor put anything beside."""
    home = tmp_path_factory.mktemp("users")
    config = home / ".kube" / "config"
    config.parent.mkdir()
    config.write_bytes(USERS_OWN)
    monkeypatch.setenv("HOME", str(home))
    yield config
    assert config.read_bytes() == USERS_OWN
    assert [path.relative_to(home) for path in home.rglob("*")] == [Path(".kube"), Path(".kube/config")]


@pytest.fixture
def new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., User]]:
    """Makes a host with settings, and its user; at the end nothing is left, and ``~/.kube/config`` is as it was."""
    made: list[Host] = []

    def make(**settings: Any) -> User:
        host = Host(tmp_path / "host", **settings)
        made.append(host)
        (host.home / ".kube" / "config").write_bytes(USERS_OWN)
        for name, value in host.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KUBECONFIG", str(host.home / ".kube" / "config"))
        monkeypatch.setenv("RUST_BACKTRACE", "full")
        return User(host, tmp_path)

    yield make
    for host in made:
        try:
            assert (host.home / ".kube" / "config").read_bytes() == USERS_OWN
            assert [path.name for path in host.home.iterdir()] == [".kube"], "a tool of ours wrote into the user's home"
            assert host.refused() == []
        finally:
            host.close()


@pytest.fixture
def user(new_user: Callable[..., User]) -> User:
    """The user of a host where everything is in order."""
    return new_user()


@pytest.fixture(scope="session")
def existing_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real control plane with controllers, that belongs to the test and not to any pool."""
    with embedded_cluster(tmp_path_factory.mktemp("existing"), ClusterSpec()) as cluster:
        yield cluster
