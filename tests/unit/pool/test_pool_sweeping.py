"""Files of killed processes beside the slots."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import pytest

from pytest_kina.files import write_json
from pytest_kina.pool import open_root
from pytest_kina.pool.locks import drop_file, try_lock
from tests.support.pool_kit import Kit

LEFT = (
    ".pool.4711.deadbeef",
    "..pool.4711.deadbeef.4711.deadbeef.tmp",
    ".pool.json.4711.deadbeef.tmp",
    "probe.4711.deadbeef.lock",
    "builds/.run.key.json.4711.deadbeef.tmp",
    "builds/run.key.lock",
    "processes/run.4711.deadbeef.lock",
)


@pytest.mark.parametrize("left", LEFT)
def test_what_a_killed_process_leaves_goes_with_the_next_sweep(kit: Kit, left: str) -> None:
    """Offers of a name, probes, half-written counts and free locks are removed."""
    path = kit.root.path / left
    path.touch()
    kit.pool.tidy()
    assert not path.exists()
    assert list(kit.root.builds.iterdir()) == []


def test_what_a_living_process_holds_stays(kit: Kit) -> None:
    """A count that the holder of the build lock is writing, its lock, and a probe in use are left alone."""
    probe, build = kit.root.path / "probe.1.deadbeef.lock", kit.root.builds / "run.key.lock"
    locks = [(try_lock(path), path) for path in (probe, build)]
    half = kit.root.builds / ".run.key.json.1.deadbeef.tmp"
    half.touch()
    kit.pool.tidy()
    assert probe.exists()
    assert build.exists()
    assert half.exists()
    for lock, path in locks:
        assert lock is not None
        drop_file(lock, path)


def test_two_that_name_the_pool_at_once_agree_although_a_third_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who offers a name for the pool and finds its offer swept away takes the name that the pool has by then."""
    link = os.link

    def swept(offer: Path, name: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        write_json(name, 1, {"id": "abcdef"})
        offer.unlink()
        link(offer, name)

    monkeypatch.setattr(os, "link", swept)
    assert open_root(tmp_path / "root").pool_id == "abcdef"


def test_a_probe_that_a_sweeper_looks_at_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweeper may take the lock of a new probe for a moment; opening the root waits for it, and succeeds."""
    place = open_root(tmp_path / "root").path
    monkeypatch.setattr(secrets, "token_hex", lambda length: "0" * (2 * length))
    probe = place / f"probe.{os.getpid()}.{'0' * 8}.lock"
    held = try_lock(probe)
    assert held is not None
    sweeper = threading.Timer(0.1, drop_file, (held, probe))
    sweeper.start()
    open_root(place)
    sweeper.join()
    assert not probe.exists()
