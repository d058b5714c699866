"""``--kina-spares`` and ``--kina-prewarm``: what is made ahead, by a process of its own, and what never is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_kina.metrics import memory, samples
from pytest_kina.metrics.usage import Usage
from pytest_kina.pool.locks import is_alive
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase
from pytest_kina.waiting import Deadline, wait_until
from tests.plugin.conftest import Project

# A test's way to know that its successor's cluster stands: without it the test would have to sleep.
AWAIT = """
import json, os, time
from pathlib import Path
import pytest

def await_spare():
    slots, until = Path(os.environ["KINA_HOME"], "slots"), time.monotonic() + 60
    while not any(json.loads(path.read_text())["state"] == "READY" for path in slots.glob("*.json")):
        assert time.monotonic() < until
        time.sleep(0.01)
"""
ISOLATED = (
    AWAIT
    + """
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.kina_cluster(isolation="{isolation}")
def test_a(kina_cluster, number):
    await_spare()
"""
)
LATE = (
    AWAIT
    + """
def test_plain():
    await_spare()

def test_cluster(kina_cluster): pass
"""
)


def starts(project: Project) -> list[str]:
    """How the leased clusters came about, in the order of the leases."""
    return [event.start for event in sorted(project.events(Phase.LEASE_WAIT), key=lambda event: event.t0)]


def settled(project: Project) -> None:
    """Wait until no process of any run is left: spares are made by processes that outlive their run."""
    processes = project.home / "processes"

    def over() -> bool:
        return not any(is_alive(processes, path.stem) for path in processes.glob("*.lock"))

    assert wait_until(over, Deadline(60), interval=0.02)


@pytest.mark.parametrize("isolation", ["fresh", "exclusive"])
def test_the_next_cluster_is_made_while_a_test_uses_the_first(project: Project, isolation: str) -> None:
    """The second and third test take what stands ready; with TTL 0 nothing of it is left behind."""
    project.write(test_a=ISOLATED.format(isolation=isolation))
    project.run("--kina-spares=1", "--kina-ttl=0").assert_outcomes(passed=3)
    settled(project)
    first, *others = starts(project)
    assert first == "fresh"
    assert set(others) <= ({"spare"} if isolation == "fresh" else {"spare", "reused"})
    assert "spare" in others
    assert project.records() == []
    assert list((project.home / "clusters").iterdir()) == []


def test_without_the_option_nothing_is_made_ahead(project: Project) -> None:
    """The default is no spare, and no process is started for one."""
    project.write(test_a=ISOLATED.format(isolation="fresh").replace("    await_spare()", "    pass"))
    project.run("--kina-ttl=0").assert_outcomes(passed=3)
    assert set(starts(project)) == {"fresh"}
    assert list(project.home.glob("runs/*/spares.log")) == []


def test_tests_without_a_cluster_hide_the_boot(project: Project) -> None:
    """With ``--kina-prewarm`` the shared cluster stands before the first test asks; it is made once."""
    project.write(test_a=LATE)
    project.run("--kina-prewarm", "--kina-ttl=15m").assert_outcomes(passed=2)
    settled(project)
    assert starts(project) == ["spare"]
    assert project.calls()["create"] == 1


def test_who_asks_while_a_cluster_is_prewarmed_waits_for_that_one(project: Project) -> None:
    """No second one is made beside it, also by several workers."""
    project.order(delays={"create": 1.5})
    project.write(test_a=LATE.replace("    await_spare()", "    pass"))
    project.run_apart("-n", "2", "--kina-prewarm").assert_outcomes(passed=2)
    settled(project)
    assert project.calls()["create"] == 1


SKIPPED = """
import pytest
@pytest.mark.skip
@pytest.mark.kina_cluster(version="1.35")
def test_first(): pass
def test_a(kina_cluster): pass
@pytest.mark.skipif(True, reason="not here")
@pytest.mark.kina_cluster(version="1.34")
def test_last(): pass
"""


@pytest.mark.parametrize(
    "source",
    ["def test_plain(): pass", "def test_a(kina_cluster): pass\ndef test_plain(): pass", SKIPPED],
    ids=["none", "first", "others skipped"],
)
def test_a_run_that_gains_nothing_prewarms_nothing(project: Project, source: str) -> None:
    """Without cluster tests, when the first one needs the cluster at once, and for skipped ones, nothing is started."""
    project.write(test_a=source)
    assert project.run("--kina-prewarm").ret == 0
    assert list(project.home.glob("runs/*/spares.log")) == []


def test_a_cluster_that_cannot_be_made_ahead_fails_the_test_that_needs_it(project: Project) -> None:
    """The run goes on meanwhile; the test's error is the provider's, and the log of the spares has it, too."""
    project.order(failures={"create": "no cluster today"})
    project.write(test_a="def test_plain(): pass\ndef test_cluster(kina_cluster): pass")
    result = project.run("--kina-prewarm")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no cluster today*"])
    settled(project)


# ---- what bounds it


def test_what_a_kind_of_cluster_needs_is_what_it_took_last(tmp_path: Path) -> None:
    """The most that the latest run saw, of the same spec and provider; what told no memory does not count."""
    spec, other = ClusterSpec(feature_gates=(("A", True),)), ClusterSpec(profile="api", simulated_nodes=0)
    cases = [("old", spec, 900, 10.0), ("new", spec, 400, 20.0), ("new", spec, 500, 20.0), ("new", other, 100, 20.0)]
    for run, shape, share, changed in [*cases, ("silent", spec, None, 30.0)]:
        (tmp_path / run).mkdir(exist_ok=True)
        usage = Usage(pss=share).to_json()
        about = {"name": "c", "when": "release", "worker": "main", "provider": "embedded"}
        samples.write(tmp_path / run, samples.Metric(kind="cluster", usage=usage, spec=shape.to_json(), **about))
        os.utime(tmp_path / run / "metrics", (changed, changed))
    assert memory.recorded(tmp_path, "embedded", spec) == 500
    assert memory.recorded(tmp_path, "embedded", other) == 100
    assert memory.recorded(tmp_path, "kind", spec) is None
    assert memory.recorded(tmp_path / "none", "embedded", spec) is None
