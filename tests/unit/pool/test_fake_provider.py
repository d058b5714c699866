"""The provider without processes: it behaves like a provider, and fails and dawdles on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.errors import BinaryError, ProvisionError
from pytest_kina.progress import silent
from pytest_kina.providers import Place, Provider
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import CALLS, FakeProvider, backend_state, read_calls, use_backend
from pytest_kina.timing import Stopwatch, TimingRecorder

Order = Callable[..., Path]
SPEC = ClusterSpec()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The place of one cluster."""
    directory = tmp_path / "clusters" / "kina-a-0-b"
    directory.mkdir(parents=True)
    return Place(name=directory.name, directory=directory, slot_lock=tmp_path / "0.lock", tidy=())


@pytest.fixture
def recorder() -> TimingRecorder:
    """Keeps what is recorded."""
    return TimingRecorder(run="run", worker="main")


def watch(recorder: TimingRecorder) -> Stopwatch:
    """A stopwatch for one cluster."""
    return recorder.bind(cluster="kina-a-0-b")


def test_it_is_a_provider() -> None:
    """It has every method of the protocol, runs everywhere, and says that it can reset."""
    provider = FakeProvider()
    assert isinstance(provider, Provider)
    assert provider.unavailable() is None
    assert "reset" in provider.info.capabilities


@pytest.mark.parametrize(("asked", "resolved"), [("1.36", "v1.36.3"), ("1.35", "v1.35.4"), ("1.34.1", "v1.34.1")])
def test_versions_are_resolved(asked: str, resolved: str) -> None:
    """A minor version becomes the known patch, a patch stands for itself."""
    assert FakeProvider().prepare(ClusterSpec(version=asked), silent)["kubernetes"] == resolved


def test_an_unknown_version_is_an_error() -> None:
    """The message names the versions that there are."""
    with pytest.raises(BinaryError, match=r"no Kubernetes 1\.2\nNext step: use 1\.34, 1\.35, 1\.36"):
        FakeProvider().prepare(ClusterSpec(version="1.2"), silent)


def test_the_life_of_a_cluster(place: Place, recorder: TimingRecorder) -> None:
    """Created clean, used, reset with other credentials, deleted; each step recorded and counted."""
    provider, kubeconfig = FakeProvider(), place.directory / "kubeconfig"
    provider.create(SPEC, place, watch(recorder), 5.0)
    first = json.loads(kubeconfig.read_text(encoding="utf-8"))
    assert (backend_state(place.directory), provider.check(place)) == ("clean", None)
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert use_backend(place.directory, "me") == "clean"
    assert provider.leftovers(place.directory.parent) == [place.name]
    provider.reset(SPEC, place, watch(recorder), 5.0)
    second = json.loads(kubeconfig.read_text(encoding="utf-8"))
    assert first["users"] != second["users"]
    assert first["current-context"] == second["current-context"] == place.name
    for _ in range(2):
        provider.delete(place)
    assert (backend_state(place.directory), provider.leftovers(place.directory.parent)) == (None, [])
    assert [event.phase for event in recorder.drain()] == ["create", "startup", "kubectl_ready", "reset"]
    counted = [call["action"] for call in read_calls(place.directory.parent.parent / CALLS)]
    assert counted == ["create", "check", "reset", "delete", "delete"]
    assert provider.logs(place, 2) == {"fake": "delete\ndelete"}


def test_failures_come_as_ordered(place: Place, recorder: TimingRecorder, order: Order) -> None:
    """A failure with a number of times ends after them; a failed creation leaves half a cluster, which is unhealthy."""
    calls = order(failures={"create": {"text": "no room", "times": 1}, "check": "feels odd"})
    provider = FakeProvider()
    with pytest.raises(ProvisionError, match="no room"):
        provider.create(SPEC, place, watch(recorder), 5.0)
    assert backend_state(place.directory) == "half"
    provider.create(SPEC, place, watch(recorder), 5.0)
    assert provider.check(place) == "feels odd"
    assert [call["action"] for call in read_calls(calls)] == ["create", "create", "check"]
    assert [event.ok for event in recorder.drain()] == [False, True, True, True]


def test_a_slow_call_keeps_to_its_time_out(place: Place, recorder: TimingRecorder, order: Order) -> None:
    """A creation that takes longer than allowed fails, like that of a real provider."""
    order(delays={"create": 60.0})
    with pytest.raises(ProvisionError, match=r"create was not finished after 0\.05 s"):
        FakeProvider().create(SPEC, place, watch(recorder), 0.05)


def test_it_can_be_unavailable(order: Order) -> None:
    """The sentence is the ordered one."""
    order(failures={"unavailable": "not on a Tuesday"})
    assert FakeProvider().unavailable() == "not on a Tuesday"


def test_what_is_not_there_cannot_be_reset_or_used(place: Place, recorder: TimingRecorder) -> None:
    """Without a backend a reset fails, a check says why, and using it is an error."""
    provider = FakeProvider()
    with pytest.raises(ProvisionError, match="no backend"):
        provider.reset(SPEC, place, watch(recorder), 5.0)
    assert provider.check(place) == f"the backend of {place.name} is missing"
    with pytest.raises(FileNotFoundError):
        use_backend(place.directory, "me")


def test_images_are_loaded_once(place: Place, recorder: TimingRecorder, tmp_path: Path) -> None:
    """The backend has the archive's name; without a backend or an archive loading is an error."""
    provider, archive = FakeProvider(), tmp_path / "0123.tar"
    provider.create(SPEC, place, watch(recorder), 5.0)
    with pytest.raises(ProvisionError, match=r"cannot load .*0123\.tar"):
        provider.load_image(place, archive, 5.0)
    archive.touch()
    for _ in range(2):
        provider.load_image(place, archive, 5.0)
    assert json.loads((place.directory / "backend").read_text(encoding="utf-8"))["images"] == ["0123.tar"]
