"""The pool with real clusters: what their supervisors do when nobody holds them, and when their run is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_kina.timing import Phase
from pytest_kina.waiting import Deadline, wait_until
from tests.support.pool_kit import Kit

pytestmark = pytest.mark.real_control_plane

REAL: dict[str, Any] = {"provider_name": "embedded", "profile": "api", "simulated_nodes": 0}
HOLDER = """
import sys, time
from pathlib import Path
from tests.support.pool_kit import Kit

lease = Kit(Path(sys.argv[1]), ttl=0.0).lease(sys.argv[2], provider_name="embedded", profile="api", simulated_nodes=0)
print(lease.name, flush=True)
time.sleep(600)
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root whose supervisors end with the test, however it goes: they stop when their directory is gone."""
    yield tmp_path / "root"
    for directory in (tmp_path / "root" / "clusters").iterdir():
        (directory / "stop").touch()
        eventually(lambda name=directory.name: not processes_of(name))


def processes_of(cluster: str) -> list[int]:
    """Processes of a cluster: its supervisor and components carry its directory in their arguments."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if cluster in " ".join(each.info["cmdline"] or [])]


def eventually(look: Callable[[], object]) -> None:
    """Fail when something does not become true within a minute; nothing here is about speed."""
    assert wait_until(look, Deadline(60.0), interval=0.1), "it did not happen"


def test_a_used_cluster_is_clean_before_the_next_run_asks_and_gone_after_its_time(root: Path) -> None:
    """Between runs the supervisor resets the cluster, the next run takes it as it is, and idleness ends it."""
    first, second = Kit(root, ttl=900.0), Kit(root, ttl=1.0)
    lease = first.lease(**REAL)
    old = (lease.directory / "kubeconfig").read_bytes()
    lease.release()
    first.pool.close()
    eventually(lambda: second.status(0).state == "READY" and not second.status(0).held)
    again = second.lease(**REAL)
    assert (again.name, again.start) == (lease.name, "reused")
    assert (again.directory / "kubeconfig").read_bytes() != old
    assert second.phases() == [Phase.LEASE_WAIT]
    assert processes_of(lease.name)
    again.release()
    second.pool.close()
    eventually(lambda: second.states() == ["EMPTY", "EMPTY"])
    eventually(lambda: not processes_of(lease.name))
    assert second.clusters() == []


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
def test_the_clusters_of_a_killed_run_go_by_themselves(root: Path, isolation: str) -> None:
    """Without reuse, nothing of a run that was killed in the middle stays, although nobody tidies after it."""
    kit = Kit(root)
    argv = [sys.executable, "-c", HOLDER, str(root), isolation]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        cluster = holder.stdout.readline().strip()
        assert processes_of(cluster)
        holder.kill()
    eventually(lambda: kit.states() == ["EMPTY", "EMPTY"])
    eventually(lambda: not processes_of(cluster))
    assert kit.clusters() == []
