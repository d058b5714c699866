"""Fault 16, the other half: everything sleeps for longer than every deadline, as under the lid of a laptop, and goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import Scene
from tests.faults.test_signals import HEAD
from tests.support.pool_kit import Kit
from tests.support.runs import finish
from tests.support.universal import processes_below

pytestmark = pytest.mark.real_control_plane

REPOSITORY = Path(__file__).parents[2]
NIGHT = 3.0  # seconds; time-outs and TTL are shorter
HOLDER = """
@pytest.mark.kina_cluster(isolation="exclusive")
def test_holds(kina_cluster):
    namespace = kina_cluster.create_namespace()
    say("busy")
    deadline = time.monotonic() + 600
    while not (PLACE / "over").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    container = {"name": "a", "image": "a"}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}})
    namespace.wait("pod/a", timeout=60)
"""

WAITER = """
import sys
from pathlib import Path
from tests.support.pool_kit import Kit

Kit(Path(sys.argv[1]), size=1, lease_timeout=2.0).lease()
"""


def everybody(scene: Scene) -> list[int]:
    """The pytests, their clusters' supervisors and components, in any order."""
    found = sorted({*scene.processes(), *processes_below(scene.home.root)} - {os.getpid()})
    random.shuffle(found)
    return found


def sleep_and_wake(scene: Scene) -> None:
    """Stop all of them, let the night pass, let them go on."""
    while stopped := [pid for pid in everybody(scene) if not is_stopped(pid)]:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
    time.sleep(NIGHT)
    for pid in everybody(scene):
        os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "TZX"
    except OSError:
        return True


@pytest.mark.parametrize("scene", ["embedded"], indirect=True)
def test_16_a_holder_wakes_up_with_its_cluster_and_a_waiter_ends_at_its_deadline(scene: Scene) -> None:
    """After a sleep longer than TTL and time-out the holder's cluster works, pods and all; the waiter names the holder."""
    scene.write(HEAD + HOLDER)
    holder = scene.start(KINA_POOL_SIZE="1", KINA_TTL="1s")
    scene.told("busy")
    argv = [sys.executable, "-c", WAITER, str(scene.home.root)]
    env = {**os.environ, "KINA_HOME": str(scene.home.root)}
    waiter = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=env)
    scene.home.wait_until((scene.home.root / "slots" / "waiting").exists, 60, "somebody waits")
    sleep_and_wake(scene)
    _, said = waiter.communicate(timeout=60)
    assert "PoolTimeoutError" in said
    assert f"process {holder.pid}" in said
    (scene.home.project / "over").touch()
    held = finish(holder)
    assert held.outcomes == {"passed": 1}, held.output
    assert [record["cluster"] for record in scene.home.records().values()] in ([], [held_cluster(scene)])
    scene.home.wait_until(lambda: not processes_below(scene.home.root), 30, "its TTL is over")
    scene.is_swept()


def held_cluster(scene: Scene) -> str:
    """The only cluster that was ever made."""
    (name,) = {event.cluster for event in scene.home.events() if event.phase == "create"}
    return str(name)


@pytest.mark.parametrize("scene", ["embedded"], indirect=True)
def test_16_a_creation_that_slept_past_its_time_out_ends_one_way_or_the_other(scene: Scene) -> None:
    """Asleep in the middle of a creation, and awake after its time: a cluster that works or an error, and nothing left."""
    scene.write(HEAD + "@exclusive\ndef test_it(kina_cluster):\n    assert clean(kina_cluster)\n")
    process = scene.start(KINA_START_TIMEOUT="2s")
    scene.home.wait_until(lambda: processes_below(scene.home.root), 60, "a cluster is begun")
    sleep_and_wake(scene)
    kit = Kit(scene.home.root)
    kit.pool.tidy()  # whoever tidies now touches nothing that lives
    kit.pool.close()
    done = finish(process)
    assert done.outcomes in ({"passed": 1}, {"error": 1}), done.output
    assert "INTERNALERROR" not in done.output
    if done.outcomes["error"]:
        assert "within 2 s" in done.output or "after 2 s" in done.output
    scene.is_swept()
