"""Two versions of the plugin in two pytest runs on one root, of which the newer one writes what the older one cannot read."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import pytest_kina
from pytest_kina.pool.records import SCHEMA
from pytest_kina.testing import read_calls
from tests.faults.conftest import Scene
from tests.support import newer
from tests.support.runs import finish
from tests.support.universal import sweep

pytest.importorskip("xdist")

SIZE = 3

# What a cluster was before, who else is in it, and by which version it was described, is asked in each test.
PROJECT = """
import json, os, pathlib, time
import pytest
import pytest_kina
from pytest_kina.spec import ClusterDescription
from pytest_kina.testing import backend_state, use_backend

ME = os.environ["ME"]
PLACE = pathlib.Path(os.environ["SCENE"])

def use(cluster, user):
    described = json.loads((cluster.directory / "cluster.json").read_text())
    assert described["schema"] == ClusterDescription.SCHEMA
    assert use_backend(cluster.directory, user) in ("clean", f"used by {user}")
    (PLACE / f"{ME}-uses").touch()
    if ME == "newer" and "ALONE" not in os.environ:
        while not (PLACE / "older-uses").exists():
            time.sleep(0.01)
    time.sleep(0.05)
    assert backend_state(cluster.directory) == f"used by {user}"

def test_version():
    assert pytest_kina.__version__ == os.environ["VERSION"]

@pytest.mark.kina_cluster(isolation="exclusive")
@pytest.mark.parametrize("number", range(6))
def test_exclusive(kina_cluster, number):
    mark = kina_cluster.directory / "occupied"
    mark.open("x").close()
    use(kina_cluster, f"{ME} {number}")
    mark.unlink()

@pytest.mark.kina_cluster(isolation="fresh")
def test_fresh(kina_cluster):
    use(kina_cluster, f"{ME} fresh")

@pytest.mark.kina_cluster()
@pytest.mark.parametrize("number", range(4))
def test_shared(kina_cluster, number):
    use(kina_cluster, ME)
"""

HOLDS = """
import os, pathlib, time
import pytest
from pytest_kina.testing import use_backend

@pytest.mark.kina_cluster("one", isolation="exclusive")
@pytest.mark.kina_cluster("two")
def test_it(kina_clusters):
    for cluster in kina_clusters.values():
        use_backend(cluster.directory, "the newer version")
    (pathlib.Path(os.environ["SCENE"]) / "holds").touch()
    time.sleep(600)
"""


@pytest.fixture
def versions(scene: Scene, tmp_path: Path) -> Mapping[str, Mapping[str, str]]:
    """The environments of the two versions; each counts the calls of its provider in a file of its own."""
    made: dict[str, dict[str, str]] = {}
    for name, number in (("older", pytest_kina.__version__), ("newer", newer.VERSION)):
        orders = tmp_path / f"{name}.json"
        orders.write_text("{}", encoding="utf-8")
        made[name] = {"ME": name, "VERSION": number, "KINA_FAKE": str(orders), "KINA_POOL_SIZE": str(SIZE)}
    made["newer"] |= newer.make_newer(tmp_path / "later")
    return made


def calls(versions: Mapping[str, Mapping[str, str]], name: str) -> set[tuple[str, str]]:
    """What a version did to which cluster."""
    return {(call["action"], call["cluster"]) for call in read_calls(Path(f"{versions[name]['KINA_FAKE']}.calls"))}


def observe(scene: Scene, runs: Iterable[subprocess.Popen[str]]) -> tuple[int, set[int]]:
    """Until the runs have ended: how many clusters there were at most at one moment, and the schemas of all records."""
    most, schemas = 0, set()
    while any(run.poll() is None for run in runs):
        most = max(most, sum(1 for _ in scene.home.root.glob("clusters/*/backend")))
        for path in scene.home.root.glob("slots/*.json"):
            try:
                schemas.add(json.loads(path.read_text(encoding="utf-8"))["schema"])
            except FileNotFoundError:
                continue
        time.sleep(0.003)
    return most, schemas


def documents(scene: Scene) -> Mapping[str, bytes]:
    """Every record, and every file of a cluster."""
    paths = (*scene.home.root.glob("slots/*.json*"), *scene.home.root.glob("clusters/**/*"))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_two_versions_work_on_one_root_at_the_same_time(
    scene: Scene, versions: Mapping[str, Mapping[str, str]]
) -> None:
    """Both runs pass within the capacity; neither is handed a cluster of the other's, and nothing at all is left."""
    scene.write(PROJECT)
    runs = [scene.start("-n", "2", "-q", **versions[name]) for name in ("newer", "older")]
    most, schemas = observe(scene, runs)
    for run in runs:
        done = finish(run)
        assert (done.returncode, done.outcomes) == (0, {"passed": 12}), done.output
    assert schemas == {SCHEMA, newer.SCHEMA}
    assert most <= SIZE
    made_by_newer = {cluster for action, cluster in calls(versions, "newer") if action == "create"}
    made_by_older = {cluster for action, cluster in calls(versions, "older") if action == "create"}
    assert made_by_newer.isdisjoint(cluster for _, cluster in calls(versions, "older"))
    # The newer version can read what the older one wrote, so an idle cluster may have to make room. No more than that.
    assert {action for action, cluster in calls(versions, "newer") if cluster in made_by_older} <= {"delete"}
    assert list(scene.home.root.glob("slots/*.torn-*")) == []
    scene.leaves_nothing()


def test_what_a_killed_newer_run_leaves_is_for_its_own_version(
    scene: Scene, versions: Mapping[str, Mapping[str, str]]
) -> None:
    """An older run works beside it and leaves every byte; the next run of the newer version cleans up."""
    scene.write(HOLDS)
    killed = scene.start("-q", **versions["newer"])
    scene.told("holds")
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    scene.everybody_ends()
    before = documents(scene)
    assert len(list(scene.home.root.glob("slots/*.json"))) == 2
    scene.write(PROJECT)
    done = scene.run("-q", **versions["older"])
    assert (done.returncode, done.outcomes) == (0, {"passed": 12}), done.output
    sweep(scene.home.root, patience=0.0)
    assert documents(scene) == before
    done = scene.run("-q", **versions["newer"], ALONE="yes")
    assert (done.returncode, done.outcomes) == (0, {"passed": 12}), done.output
    scene.leaves_nothing()
