"""``--kina-keep``: what a person may look at after the run, and what nobody touches until then."""

from __future__ import annotations

import pytest

from pytest_kina.cli import main
from tests.plugin.conftest import Project

ISOLATED = """
import pytest

@pytest.mark.kina_cluster(isolation="{isolation}")
def test_bad(kina_cluster): assert 0

@pytest.mark.kina_cluster(isolation="{isolation}")
def test_good(kina_cluster): pass
"""


def kept(project: Project) -> list[str]:
    """The clusters whose records say that they are kept."""
    return [record["cluster"] for record in project.records() if record["kept"]]


@pytest.mark.parametrize("isolation", ["exclusive", "fresh"])
@pytest.mark.parametrize("ttl", ["0", "15m"])
def test_cluster_of_a_failed_test_is_kept(project: Project, isolation: str, ttl: str) -> None:
    """With ``failed`` the cluster of a failed isolated test stays as it is, whatever the TTL, and the report says where."""
    project.write(test_a=ISOLATED.format(isolation=isolation))
    result = project.run("--kina-keep=failed", f"--kina-ttl={ttl}")
    (name,) = kept(project)
    directory = project.home / "clusters" / name
    result.stdout.fnmatch_lines(
        [
            "*= kina: kept =*",
            f"test_a.py::test_bad: everything in {name}, kubeconfig {directory / 'kubeconfig'}",
            "Delete them with: pytest-kina down <cluster>",
        ]
    )
    assert (directory / "backend").exists()
    assert project.calls()["reset"] == 0


def test_kept_cluster_is_left_alone_by_later_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later run neither uses, resets nor deletes a kept cluster; ``pytest-kina down`` deletes it."""
    project.write(test_a=ISOLATED.format(isolation="exclusive"))
    project.run("--kina-keep=failed").assert_outcomes(passed=1, failed=1)
    (name,) = kept(project)
    for _ in range(2):
        project.run("-k", "good", "--kina-ttl=0").assert_outcomes(passed=1, deselected=1)
        assert [(record["cluster"], record["state"]) for record in project.records()] == [(name, "QUARANTINED")]
    assert main(["down", name]) == 0
    assert project.records() == []


@pytest.mark.parametrize(("keep", "number"), [("never", 0), ("failed", 1), ("always", 2)])
def test_keep_says_whose_clusters_stay(project: Project, keep: str, number: int) -> None:
    """``never``, those of failed tests, or all."""
    project.write(test_a=ISOLATED.format(isolation="exclusive"))
    result = project.run(f"--kina-keep={keep}")
    assert len(kept(project)) == number
    assert ("kina: kept" in result.stdout.str()) == bool(number)


def test_last_usable_slot_is_not_kept(project: Project) -> None:
    """Kept clusters never use up the pool: the tests that follow still get theirs, and the report says what is not kept."""
    project.write(test_a=ISOLATED.format(isolation="exclusive"))
    result = project.run("--kina-keep=always", "--kina-pool-size=2", "--kina-lease-timeout=20s")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["test_a.py::test_good: kina-* is not kept: no other slot is left, see --kina-pool-size"]
    )


def test_shared_cluster_without_namespace_is_not_kept(project: Project) -> None:
    """A failed test that shares a cluster and made no namespace leaves nothing of its own to keep."""
    project.write(test_a="def test_bad(kina_cluster): assert 0")
    result = project.run("--kina-keep=failed")
    result.assert_outcomes(failed=1)
    assert kept(project) == []


def test_what_workers_keep_is_told(project: Project) -> None:
    """Under xdist the controller's report says what the workers keep."""
    pytest.importorskip("xdist")
    project.write(test_a=ISOLATED.format(isolation="exclusive"))
    result = project.run_apart("-n", "2", "--kina-keep=failed")
    (name,) = kept(project)
    result.stdout.fnmatch_lines([f"test_a.py::test_bad: everything in {name}, *"])
