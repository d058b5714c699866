"""Memory for one more cluster: there, coming, or missing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_kina import memory
from pytest_kina.errors import ProvisionError
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider, assets, room
from pytest_kina.providers.embedded.components import PROFILES
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder


@pytest.fixture
def meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel says about memory."""
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9999999 kB\nMemAvailable:  204800 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", path)
    return path


def test_every_profile_has_its_need() -> None:
    """A profile that nobody has measured could not be refused."""
    assert room.NEEDED.keys() == PROFILES.keys()


@pytest.mark.parametrize("profile", PROFILES)
def test_too_little_memory_is_told_in_a_sentence(meminfo: Path, profile: str) -> None:
    """What is there, what is needed, and what can be done, once the time is up."""
    needed = room.NEEDED[profile] // 2**20
    with pytest.raises(ProvisionError) as caught:
        room.await_memory("kina-a", profile, timeout=0.0)
    assert f"200 MiB of memory are available, below the {needed} MiB that one of profile '{profile}'" in str(
        caught.value
    )
    assert "lower --kina-pool-size" in str(caught.value)


def test_memory_that_others_give_back_is_waited_for(meminfo: Path) -> None:
    """A cluster that was just ended needs a moment to be gone."""
    timer = threading.Timer(0.1, meminfo.write_text, ["MemAvailable: 512000 kB\n"])
    timer.start()
    room.await_memory("kina-a", "workloads", timeout=20.0)
    timer.join()


@pytest.mark.parametrize(
    "text", ["MemAvailable: 102400 kB\nSwapFree: 512000 kB\n", "MemTotal: 1 kB\n", "MemAvailable: 358400 kB\n"]
)
def test_swap_counts_and_silence_is_no_refusal(meminfo: Path, text: str) -> None:
    """Where nobody says how much there is, it is tried."""
    meminfo.write_text(text)
    room.await_memory("kina-a", "api", timeout=0.0)


def test_nothing_is_started_without_memory(meminfo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is left as it was, so there is nothing to end."""
    programs = assets.Programs({"etcd": tmp_path / "etcd"}, {"kubernetes": "v1.36.3"}, {})
    monkeypatch.setattr(assets.Source, "obtain", lambda *_: programs)
    place = Place(name="kina-a", directory=tmp_path / "kina-a", slot_lock=tmp_path / "lock", tidy=())
    place.directory.mkdir()
    spec, recorder = ClusterSpec(profile="api", simulated_nodes=0), TimingRecorder(run="r", worker="main")
    with pytest.raises(ProvisionError, match="was not started"):
        EmbeddedProvider(tmp_path).create(spec, place, recorder.bind(), 0.0)
    assert list(place.directory.iterdir()) == []
