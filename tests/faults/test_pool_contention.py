"""Many processes at once on one pool, without and with deaths."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pytest_kina.testing import read_calls
from tests.support.histories import Use, overlaps
from tests.support.pool_campaign import Campaign
from tests.support.pool_kit import Kit, run_id, want


def test_sixteen_processes_never_use_a_cluster_together(tmp_path: Path) -> None:
    """Exclusive leases of 16 processes on 3 slots are never two at a time, always clean, and never more than 3."""
    with Campaign(tmp_path / "root", tmp_path / "out", {"leases": 5, "hold": 0.01}) as campaign:
        run = run_id()
        for _ in range(16):
            campaign.start(run)
        campaign.go()
        campaign.finish()
    assert campaign.wrong() == ""
    assert len(campaign.uses()) == 16 * 5
    assert len({cluster for _, cluster, _ in campaign.uses()}) <= 3


def test_five_seconds_of_contention_without_an_overlap(tmp_path: Path) -> None:
    """16 processes fight for 4 slots; by their own clocks no two exclusive uses of a slot overlap, and everybody gets some."""
    orders = {"leases": 1_000_000, "hold": 0.01, "size": 4}
    with Campaign(tmp_path / "root", tmp_path / "out", orders) as campaign:
        for run in (run_id(), run_id()):
            for _ in range(8):
                campaign.start(run)
        campaign.go()
        time.sleep(5.0)
        campaign.stop()
        histories = campaign.histories()
    assert campaign.wrong() == ""
    assert overlaps(histories) == []
    assert len({use.pid for use in histories}) == 16


def test_an_overlap_in_histories_is_found() -> None:
    """Two exclusive uses of a slot that overlap are found, in whatever order they come; others are none."""
    first, second = Use(1, "exclusive", 0, "a", 0, 1, 5), Use(2, "exclusive", 0, "a", 0, 4, 6)
    inside, shared = Use(3, "fresh", 0, "b", 0, 2, 3), Use(4, "namespace", 0, "a", 0, 1, 9)
    assert overlaps([second, first]) == [(first, second)]
    assert overlaps([first, inside]) == [(first, inside)]
    assert overlaps([first, second._replace(slot=1), second._replace(begun=5, ended=6)]) == []
    assert overlaps([first, shared]) == [(first, shared)]
    assert overlaps([shared, shared._replace(pid=5)]) == []


def test_runs_with_equal_and_with_other_specs_never_share(tmp_path: Path) -> None:
    """Three runs with two specs on two slots take clusters from each other, but never one that is in use."""
    orders = {"leases": 12, "isolations": ["namespace", "exclusive"], "versions": ["1.36", "1.35"], "size": 2}
    with Campaign(tmp_path / "root", tmp_path / "out", orders) as campaign:
        for run in (run_id(), run_id(), run_id()):
            campaign.start(run)
            campaign.start(run)
        campaign.go()
        campaign.finish()
    assert campaign.wrong() == ""
    assert {isolation for isolation, _, _ in campaign.uses()} == {"namespace", "exclusive"}


def test_processes_of_one_run_make_one_shared_cluster(tmp_path: Path) -> None:
    """Eight processes that ask for one shared spec at the same time get the same cluster, which is made once."""
    fake = tmp_path / "fake.json"
    fake.write_text(json.dumps({"delays": {"create": 0.3}}), encoding="utf-8")
    orders = {"isolations": ["namespace"], "leases": 3, "size": 8}
    with Campaign(tmp_path / "root", tmp_path / "out", orders, fake) as campaign:
        run = run_id()
        for _ in range(8):
            campaign.start(run)
        campaign.go()
        campaign.finish()
    assert campaign.wrong() == ""
    assert len({cluster for _, cluster, _ in campaign.uses()}) == 1
    made = [call for call in read_calls(tmp_path / "fake.json.calls") if call["action"] == "create"]
    assert len(made) == 1


def test_deaths_and_stops_leave_nothing_that_a_new_run_does_not_repair(tmp_path: Path) -> None:
    """Processes of two runs are killed and stopped at random; nobody gets a dirty cluster, and a new run repairs all."""
    orders = {"leases": 10_000, "isolations": ["exclusive", "namespace", "fresh"], "versions": ["1.36", "1.35"]}
    with Campaign(tmp_path / "root", tmp_path / "out", orders | {"size": 3}) as campaign:
        for run in (run_id(), run_id()):
            for _ in range(2):
                campaign.start(run)
        campaign.go()
        campaign.disturb(deaths=12, stops=8)
        campaign.stop()
    assert campaign.wrong() == ""
    kit = Kit(tmp_path / "root", size=3)
    kit.pool.tidy()
    assert set(kit.states()) <= {"EMPTY", "DIRTY", "SHARED", "READY"}
    assert list(kit.root.processes.iterdir()) == []
    leases = kit.pool.lease([want(), want(), want()], note="repair")
    assert len({lease.name for lease in leases}) == 3
    kit.pool.retire()
    assert kit.states() == ["EMPTY"] * 3
    assert kit.clusters() == []
    kit.pool.close()
