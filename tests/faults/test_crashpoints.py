"""A process dies, stops or fails at any named point: nothing is left that the next run does not repair."""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pytest_kina
from pytest_kina import crashpoints
from pytest_kina.binaries.platforms import current
from pytest_kina.binaries.store import Store
from pytest_kina.providers.embedded import templates
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.testing import backend_state
from tests.support import template_story
from tests.support.binary_story import obtain_again, programs
from tests.support.crashes import EFFECTS, REACHED, go_on_below
from tests.support.etcd_provider import NAME as ETCD_PROVIDER
from tests.support.pool_kit import Kit, want
from tests.support.universal import sweep, temporary_files

REPOSITORY = Path(__file__).parents[2]
STEPS = crashpoints.POINTS
POOL = (*STEPS["pool"], *STEPS["files"])
BINARIES = (*STEPS["binaries"], *STEPS["files"])
SUPERVISOR = STEPS["supervisor"]
TEMPLATES = STEPS["templates"]
PREPARED = ("KINA_ASSETS", "KUBEBUILDER_ASSETS", "http_proxy", "HTTP_PROXY")


def wrecks(story: str, directory: Path, *steps: str) -> dict[str, tuple[Path, int, int]]:
    """What the effects at the points around the steps left, by ``<point>:<effect>``.

    The root, the storyteller's exit code, how many processes stopped.
    """
    orders = [f"{step}.{moment}:{effect}" for step in steps for moment in ("before", "after") for effect in EFFECTS]
    argv = [sys.executable, "-W", "ignore", "-m", "tests.support.crashes", story, str(directory), *orders]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True, cwd=REPOSITORY, env=env)
    seen = json.loads(done.stdout)
    return {order: (directory / order.replace(":", "-"), *seen[order]) for order in orders}


def reached(story: str, directory: Path, *steps: str) -> dict[str, Path]:
    """The roots that storytellers left who came to the points around the steps, and felt their effects."""
    found = wrecks(story, directory, *steps)
    for order, (_, code, stopped) in found.items():
        assert code == (137 if order.endswith("exit") else REACHED), f"{order}: the point was not reached"
        assert bool(stopped) == order.endswith("stop")
    return {order: root for order, (root, _, _) in found.items()}


@pytest.mark.parametrize("step", POOL)
def test_pool_is_repaired_by_the_next_run(tmp_path: Path, step: str) -> None:
    """The next run tidies up, gets clean clusters in every slot, and leaves nothing: no record, directory, lock or file."""
    for order, root in reached("pool", tmp_path, step).items():
        kit = Kit(root)
        kit.pool.tidy()
        assert list(kit.root.processes.iterdir()) == [], order
        assert temporary_files(root) == [], order
        leases = kit.pool.lease([want(), want()], note="the next run")
        assert [backend_state(lease.directory) for lease in leases] == ["clean", "clean"], order
        assert sorted(lease.name for lease in leases) == kit.clusters(), order
        kit.pool.retire()
        kit.pool.close()
        assert_tidy(kit)


def assert_tidy(kit: Kit) -> None:
    """Only what is meant to stay is there: locks of slots, the pool's name, counts of failed builds, the fake's orders."""
    permanent = (kit.root.slots, kit.root.starts)
    left = [path for path in kit.root.path.rglob("*") if path.is_file() and path.parent not in permanent]
    counts = {path for path in left if path.parent == kit.root.builds and path.suffix == ".json"}
    assert {path.name for path in left if path not in counts} <= {
        "fake.calls",
        "pool.json",
        "fake.json",
        "fake.json.calls",
    }
    assert {path.suffix for path in kit.root.slots.iterdir()} <= {".lock", ""}


@pytest.mark.parametrize("step", BINARIES)
def test_store_is_completed_by_the_next_process(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process gets verified binaries, and what the last one left half done is gone."""
    for order, root in reached("binaries", tmp_path, step).items():
        for name in PREPARED:
            monkeypatch.delenv(name, raising=False)
        for name, value in {"PATH": programs(root), "HOME": root / "home", "XDG_DATA_HOME": root / "home"}.items():
            monkeypatch.setenv(name, str(value))
        found = obtain_again(root)
        assert found.versions == {"etcd": "v3.6.16", "kwok": "v0.8.0"}, order
        assert not any(b"damaged" in path.read_bytes() for path in found.paths.values()), order
        Store(root, current()).sweep()
        assert [path.name for path in (root / "binaries").glob(".tmp-*")] == [], order
        assert list((root / "binaries" / ".work").iterdir()) == [], order
        assert temporary_files(root) == [], order
        monkeypatch.undo()


@pytest.mark.real_control_plane
def test_templates_are_whole_or_none_and_completed_by_the_next(
    tmp_path: Path, assets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happened to their makers at any point: what is found can be started from, and the next one leaves no rest."""
    kit = Kit(tmp_path / "running", ttl=0.0)
    lease = kit.lease(provider_name=ETCD_PROVIDER)
    monkeypatch.setenv(template_story.ETCD, str(lease.directory))
    for order, root in reached("templates", tmp_path, *TEMPLATES).items():
        for template in templates.found(template_story.store(root)):
            assert template.unpack(emptied(root)), order
        layout = template_story.keep(root)
        assert not layout.work.exists(), order
        (template,) = templates.found(template_story.store(root))
        assert [path.name for path in template_story.store(root).iterdir()] == [template.key], order
        assert template.unpack(emptied(root)), order
        assert temporary_files(root) == [], order
    lease.release()
    kit.pool.retire()
    kit.pool.close()
    assert sweep(kit.root.path).left == ()


def emptied(root: Path) -> Layout:
    """The directory of a cluster that is about to start."""
    layout = Layout(root / "cluster")
    layout.wipe()
    layout.make()
    return layout


@pytest.mark.real_control_plane
@pytest.mark.parametrize("step", SUPERVISOR)
def test_nothing_outlives_a_supervisor_in_trouble(tmp_path: Path, assets: str, step: str) -> None:
    """Whatever happens to a supervisor of etcd, its storyteller comes to its end, and one sweep leaves nothing at all."""
    for order, (root, code, stopped) in wrecks("etcd", tmp_path, step).items():
        assert code == 0, order
        assert bool(stopped) == order.endswith("stop"), "the point was not reached"
        assert sweep(root).left == (), order


@pytest.mark.long
@pytest.mark.real_control_plane
@pytest.mark.parametrize("step", STEPS["pool"])
def test_pool_of_real_processes_is_repaired_by_one_sweep(tmp_path: Path, assets: str, step: str) -> None:
    """The points of the pool, with etcd under the real supervisor: one sweep leaves no process, record or directory."""
    for order, (root, code, _) in wrecks("etcd", tmp_path, step).items():
        assert code == (137 if order.endswith("exit") else REACHED), f"{order}: the point was not reached"
        assert left_by_everybody(root) == (), order


def left_by_everybody(root: Path) -> tuple[str, ...]:
    """What a sweep leaves once nobody is stopped any more: idle helpers come to the point, too, each for the first time."""
    for _ in range(10):
        go_on_below(root)
        if not (left := sweep(root, patience=1.0).left):
            break
    return left


def test_list_of_points_is_that_of_the_source() -> None:
    """Each step that the source names is in the list, under one part only, and in one of the sweeps; nothing else is."""
    listed = [step for steps in crashpoints.POINTS.values() for step in steps]
    assert len(listed) == len(set(listed))
    found = {step for path in Path(pytest_kina.__file__).parent.rglob("*.py") for step in steps_in(path)}
    states = {f"record.{state}" for state in ("DOOMED", "DIRTY", "READY", "SHARED", "QUARANTINED")}
    assert found | states == set(listed)
    assert {*POOL, *BINARIES, *TEMPLATES, *SUPERVISOR} == set(listed)


def steps_in(path: Path) -> set[str]:
    """The names of the steps in a module: literal arguments of ``around`` and ``reach``."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = [call for call in calls if ast.unparse(call.func) in {*_CALLS, *(f"crashpoints.{c}" for c in _CALLS)}]
    texts = [call.args[0].value for call in named if isinstance(call.args[0], ast.Constant)]
    return {str(text).removesuffix(".before").removesuffix(".after") for text in texts}


_CALLS = ("around", "reach")


def test_a_point_without_an_order_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are no-ops, also when the order names another point, or another time."""
    monkeypatch.delenv("KINA_CRASH", raising=False)
    crashpoints.reach("create.before")
    monkeypatch.setenv("KINA_CRASH", "create.after:raise,create.before@1000:raise")
    crashpoints.reach("create.before")


def test_the_effects_of_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point can raise or run out of disk; several may be ordered at once."""
    monkeypatch.setenv("KINA_CRASH", "a.before:raise,b.before:enospc")
    with pytest.raises(RuntimeError, match=r"crash point a\.before"):
        crashpoints.reach("a.before")
    with pytest.raises(OSError, match="No space left") as caught:
        crashpoints.reach("b.before")
    assert caught.value.errno == errno.ENOSPC


def test_a_point_can_be_slow_or_mean_a_later_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point may take a second, and an order may wait for the second time that a process gets there."""
    monkeypatch.setenv("KINA_CRASH", "slow.after:sleep,often.before@2:raise")
    began = time.monotonic()
    with crashpoints.around("slow"):
        pass
    assert time.monotonic() - began >= 1.0
    crashpoints.reach("often.before")
    with pytest.raises(RuntimeError):
        crashpoints.reach("often.before")


def test_a_process_can_be_stopped_at_a_point(tmp_path: Path) -> None:
    """Stopped with the slot's lock in its hands, a process keeps it; the time-out of others names it as stopped."""
    program = "import sys; from pathlib import Path; from tests.support.pool_kit import Kit; Kit(Path(sys.argv[1]), size=1).lease()"
    env = os.environ | {"KINA_CRASH": "create.before:stop"}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "root")], env=env, cwd=REPOSITORY) as stopped:
        try:
            assert os.WIFSTOPPED(os.waitpid(stopped.pid, os.WUNTRACED)[1])
            kit = Kit(tmp_path / "root", size=1, lease_timeout=0.1)
            with pytest.raises(Exception, match=rf"slot 0: DOOMED, held; .*process {stopped.pid} .*which is STOPPED"):
                kit.lease()
            kit.pool.tidy()
            assert kit.status(0).held
        finally:
            stopped.send_signal(signal.SIGCONT)
    assert stopped.returncode == 0
    assert kit.lease().number == 0
    kit.pool.close()
