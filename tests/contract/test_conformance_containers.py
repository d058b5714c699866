"""Every provider with real nodes does what every provider must, on a simulated host."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytest_kina.providers import Provider, find
from pytest_kina.providers.containers.access import Access
from pytest_kina.testing import ProviderConformance
from tests.contract.conftest import USERS_OWN
from tests.support.simulators import Host

IMAGE = "docker.io/library/app:test"


@pytest.fixture(scope="class", autouse=True)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The host of a class; at its end nothing is left on it, and what is the user's is as it was."""
    made = Host(tmp_path_factory.mktemp("host"), **request.cls.settings)
    made.images(**{IMAGE: f"sha256:{'1' * 64}"})
    (made.home / ".kube" / "config").write_bytes(USERS_OWN)
    request.cls.host = made
    yield
    try:
        assert (made.home / ".kube" / "config").read_bytes() == USERS_OWN
        assert [path.name for path in made.home.iterdir()] == [".kube"]
        assert made.refused() == []
        assert made.machines() == {}
    finally:
        made.close()


class ContainersSuite(ProviderConformance):
    """Examines the provider called ``kind_of_provider``; one host per class, as a user has one machine."""

    timeout = 60.0
    kind_of_provider = ""
    settings: dict[str, str] = {}  # noqa: RUF012 - each subclass has its own
    host: Host

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.host.environment().items():
            monkeypatch.setenv(name, value)

    def provider(self) -> Provider:
        """One that has looked at nothing yet."""
        return find(self.kind_of_provider)

    def use(self, directory: Path) -> str:
        """Create a namespace; the simulated API knows no more."""
        name = f"trace-{secrets.token_hex(4)}"
        with closing(Access(directory).probe()) as probe:
            status, _ = probe.request("POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": name}}).encode())
        assert status == 201
        return name

    def has_trace(self, directory: Path, trace: str) -> bool:
        """Whether the namespace is there."""
        with closing(Access(directory).probe()) as probe:
            found = json.loads(probe.get("/api/v1/namespaces")[1])["items"]
        return trace in [each["metadata"]["name"] for each in found]

    def image_archive(self, directory: Path) -> Path:
        """That of an image of the host."""
        os.environ["KINA_HOME"] = str(directory / "root")
        provider = self.provider()
        archive = provider.save_image(IMAGE)  # type: ignore[attr-defined]
        assert isinstance(archive, Path)
        return archive

    def has_image(self, directory: Path, archive: Path) -> bool:
        """Whether it is in the namespace of the kubelet of every node."""
        nodes = [each for each in self.host.machines().values() if directory.name in each["name"]]
        stores = [each["stores"].get("k8s.io", {}) for each in nodes if not each["name"].endswith("-serverlb")]
        return archive.exists() and bool(stores) and all(IMAGE in store for store in stores)


class TestKina(ContainersSuite):
    """All of the suite."""

    kind_of_provider = "kina"


@pytest.mark.long  # its own code is the least, and what it shares with kina is examined there
class TestAppleK8s(ContainersSuite):
    """All of the suite."""

    kind_of_provider = "apple_k8s"
    settings = {"container": "1.2.2"}  # noqa: RUF012


class TestKind(ContainersSuite):
    """All of the suite."""

    kind_of_provider = "kind"


@pytest.mark.long  # differs from kind by its command lines, which have tests of their own
class TestK3d(ContainersSuite):
    """All of the suite."""

    kind_of_provider = "k3d"
