"""Signals and deaths in pytest's processes, as people and machines cause them: whole runs, with and without xdist."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.faults.conftest import FAKE, Scene, interrupt
from tests.support.runs import finish

pytest.importorskip("xdist")

REAL = pytest.mark.real_control_plane
WITH_REAL = [FAKE, pytest.param("embedded", marks=REAL)]
XDIST = pytest.mark.parametrize("how", [(), ("-n", "2")], ids=["serial", "xdist"])

# A test says a word by making a file, and finds out what its cluster was before.
HEAD = """
import os, pathlib, signal, subprocess, sys, time
import pytest

PLACE = pathlib.Path(os.environ["SCENE"])

def say(word):
    (PLACE / word).touch()

def first(word):
    try:
        (PLACE / word).open("x").close()
    except FileExistsError:
        return False
    return True

def clean(cluster):
    if "Fake" in cluster.provider:
        from pytest_kina.testing import use_backend
        return use_backend(cluster.directory, "somebody") == "clean"
    found = [item["metadata"]["name"] for item in cluster.list("configmaps", namespace="default")]
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody", "namespace": "default"}})
    return "somebody" not in found

exclusive = pytest.mark.kina_cluster(profile="api", isolation="exclusive")
shared = pytest.mark.kina_cluster(profile="api")
"""

# xdist waits ten seconds for its workers to end.
IMPATIENT = "from xdist.workermanage import NodeManager\n\nNodeManager.EXIT_TIMEOUT = 1\n"

DIES = """
@exclusive
@pytest.mark.parametrize("number", range(5))
def test_it(kina_cluster, number):
    assert clean(kina_cluster)
    if number == 1 and first("died"):
        {death}
"""

BUSY = """
@pytest.mark.parametrize("number", range(4))
@{kind}
def test_it(kina_cluster, number):
    say(f"busy-{{os.environ.get('PYTEST_XDIST_WORKER', 'main')}}")
    time.sleep({seconds})
"""


@pytest.mark.parametrize(
    ("scene", "death"),
    [
        (FAKE, "os._exit(1)"),
        (FAKE, "os.kill(os.getpid(), signal.SIGKILL)"),
        (FAKE, "os.kill(os.getpid(), signal.SIGTERM)"),
        # The kind of death makes no difference to the real control plane.
        pytest.param("embedded", "os.kill(os.getpid(), signal.SIGKILL)", marks=REAL),
    ],
    indirect=["scene"],
)
def test_a_dead_worker_costs_one_test_and_its_replacement_gets_a_clean_cluster(scene: Scene, death: str) -> None:
    """The test in which a worker died fails once; the others get clean clusters, within the capacity; nothing is left."""
    scene.write(HEAD + DIES.format(death=death))
    done = scene.run("-n", "2")
    assert done.outcomes == {"failed": 1, "passed": 4}, done.output
    slots = {event.cluster.split("-")[2] for event in scene.home.events() if event.cluster}
    assert slots <= {"0", "1"}
    scene.leaves_nothing()


def test_every_worker_may_be_replaced(scene: Scene) -> None:
    """Four deaths in a row, each in another worker: each costs its own test, and nothing is left."""
    source = """
@shared
@pytest.mark.parametrize("number", range(8))
def test_it(kina_cluster, number):
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    scene.write(HEAD + source)
    done = scene.run("-n", "2", "--max-worker-restart=8")
    assert done.outcomes == {"failed": 4, "passed": 4}, done.output
    assert len({event.cluster for event in scene.home.events() if event.phase == "create"}) == 1
    scene.leaves_nothing()


@pytest.mark.parametrize(
    ("scene", "number"),
    # Both signals end a process without finalizers; to the real control plane they are the same.
    [(FAKE, signal.SIGTERM), (FAKE, signal.SIGKILL), pytest.param("embedded", signal.SIGKILL, marks=REAL)],
    indirect=["scene"],
)
@XDIST
def test_a_killed_pytest_leaves_nothing_that_is_not_swept(
    scene: Scene, number: signal.Signals, how: tuple[str, ...]
) -> None:
    """SIGTERM and SIGKILL to pytest while tests use clusters: its workers end, and one sweep removes all of it."""
    scene.write(HEAD + BUSY.format(kind="exclusive", seconds=600))
    process = scene.start(*how)
    for worker in ("gw0", "gw1") if how else ("main",):
        scene.told(f"busy-{worker}")
    process.send_signal(number)
    assert finish(process).returncode == -number
    scene.is_swept()


@pytest.mark.parametrize("kind", ["exclusive", "shared"])
@XDIST
def test_ctrl_c_ends_the_run_and_leaves_nothing(scene: Scene, how: tuple[str, ...], kind: str) -> None:
    """One Ctrl-C in the middle of tests: the report is written, the exit code is 2, and the clusters are deleted."""
    scene.write(HEAD + BUSY.format(kind=kind, seconds=600))
    process = scene.start(*how)
    for worker in ("gw0", "gw1") if how else ("main",):
        scene.told(f"busy-{worker}")
    interrupt(process)
    done = finish(process)
    assert done.returncode == 2, done.output
    assert "KeyboardInterrupt" in done.output
    scene.leaves_nothing()


@XDIST
def test_ctrl_c_twice_leaves_nothing_that_is_not_swept(scene: Scene, how: tuple[str, ...]) -> None:
    """A second Ctrl-C cuts the teardown of a test in the middle; what that leaves, one sweep removes."""
    source = """
@pytest.fixture
def slow(kina_cluster):
    yield
    say(f"teardown-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    time.sleep(600)

@exclusive
@pytest.mark.parametrize("number", range(2))
def test_it(slow, number):
    say(f"busy-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    time.sleep(600)
"""
    scene.write(HEAD + source)
    process = scene.start(*how)
    worker = "gw0" if how else "main"
    scene.told(f"busy-{worker}")
    interrupt(process)
    scene.told(f"teardown-{worker}")
    interrupt(process)
    assert finish(process).returncode != 0
    scene.is_swept()


@pytest.mark.parametrize("scene", WITH_REAL, indirect=True)
@XDIST
def test_ctrl_c_during_set_up_leaves_nothing_that_is_not_swept(scene: Scene, how: tuple[str, ...]) -> None:
    """Interrupted while a cluster is being made, pytest exits with 2, and nothing of the half-made cluster stays."""
    scene.home.root.parent.joinpath("fake.json").write_text('{"delays": {"create": 600}}', encoding="utf-8")
    scene.write(HEAD + BUSY.format(kind="shared", seconds=0))
    process = scene.start(*how)
    scene.home.wait_until(lambda: is_being_made(scene), 60, "a cluster is begun")
    interrupt(process)
    done = finish(process)
    assert done.returncode == 2, done.output
    scene.is_swept()


def is_being_made(scene: Scene) -> bool:
    """Whether its makers only wait for it: Python itself loses an interrupt that comes in the middle of an import."""
    half_made = scene.home.root.glob("clusters/*/backend")
    return any(half_made) or any("/kube-apiserver " in line for line in scene.home.processes().values())


def test_ctrl_c_for_the_controller_alone_leaves_nothing(scene: Scene) -> None:
    """SIGINT to the controller and not to its workers: it ends with 2, whether or not they are in the middle of tests."""
    scene.write(HEAD + BUSY.format(kind="shared", seconds=600), conftest=IMPATIENT)
    process = scene.start("-n", "2")
    for worker in ("gw0", "gw1"):
        scene.told(f"busy-{worker}")
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode == 2, done.output
    scene.is_swept()


def test_a_teardown_that_xdist_cuts_leaves_nothing(scene: Scene) -> None:
    """After Ctrl-C xdist kills workers whose teardown takes longer than its patience; the clusters go all the same."""
    source = """
@pytest.fixture(scope="session")
def slow(kina_cluster):
    yield
    say("begun")
    time.sleep(6)
    say("finished")

@shared
@pytest.mark.parametrize("number", range(2))
def test_it(slow, number):
    say(f"busy-{os.environ['PYTEST_XDIST_WORKER']}")
    time.sleep(600)
"""
    scene.write(HEAD + source, conftest=IMPATIENT)
    process = scene.start("-n", "2")
    scene.told("busy-gw0")
    interrupt(process)
    done = finish(process)
    assert done.returncode == 2, done.output
    assert (scene.home.project / "begun").exists()
    assert not (scene.home.project / "finished").exists(), "the teardown was not cut"
    scene.is_swept()


@XDIST
def test_maxfail_ends_the_run_and_leaves_nothing(scene: Scene, how: tuple[str, ...]) -> None:
    """When pytest stops at the first failure, the clusters of the tests that still ran are deleted, too."""
    source = """
@exclusive
@pytest.mark.parametrize("number", range(6))
def test_it(kina_cluster, number):
    assert clean(kina_cluster)
    assert number != 1
"""
    scene.write(HEAD + source)
    done = scene.run("--maxfail=1", *how)
    assert done.returncode in (1, 2), done.output
    assert done.outcomes["failed"] == 1
    scene.leaves_nothing()


FORKS = """
def child():
    pid = os.fork()
    if not pid:
        {child}
        os._exit(0)
    return pid

@exclusive
def test_forks(kina_cluster):
    pid = child()
    {parent}

@exclusive
def test_next(kina_cluster):
    assert clean(kina_cluster)
"""


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("pass", "os.waitpid(pid, 0)"),
        ("sys.exit(0) if False else None", "assert os.waitpid(pid, 0)[1] == 0 and clean(kina_cluster)"),
        ("os.close(1); os.close(2); time.sleep(3)", "pass"),
    ],
    ids=["child ends first", "parent goes on", "child outlives the run"],
)
def test_a_test_that_forks_keeps_its_lease_and_nothing_longer(scene: Scene, child: str, parent: str) -> None:
    """A forked child neither takes the lease along, nor ends it for its parent, nor keeps it after the run."""
    scene.write(HEAD + FORKS.format(child=child, parent=parent))
    done = scene.run()
    assert done.outcomes == {"passed": 2}, done.output
    scene.leaves_nothing()


DAEMON = """
def held(descriptor):
    path = f"/proc/self/fd/{{descriptor}}"
    return os.path.exists(path) and os.readlink(path).endswith(".lock")

def daemon(**how):
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     start_new_session=True, **how)

@exclusive
def test_daemon(kina_cluster):
    {inherit}
    daemon({how})
    say("daemon")
    {then}
"""
_LOCKS = "[os.set_inheritable(int(fd), True) for fd in os.listdir('/proc/self/fd') if held(fd)]"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_daemon_with_the_locks_descriptors_does_not_keep_a_lease_that_was_given_back(scene: Scene) -> None:
    """A daemon that inherits even the descriptors of the locks keeps nothing once its test has ended: unlocking counts for all."""
    scene.write(HEAD + DAEMON.format(inherit=_LOCKS, how="close_fds=False", then="pass"))
    done = scene.run("-p", "no:unraisableexception")
    assert done.outcomes == {"passed": 1}, done.output
    assert sweep_is_complete(scene)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_ordinary_daemon_does_not_keep_the_lease_of_a_killed_pytest(scene: Scene) -> None:
    """A daemon started the usual way inherits no lock: after SIGKILL of its pytest, one sweep removes everything."""
    scene.write(HEAD + DAEMON.format(inherit="pass", how="", then="time.sleep(600)"))
    process = scene.start()
    scene.told("daemon")
    process.kill()
    finish(process)
    assert sweep_is_complete(scene)


def sweep_is_complete(scene: Scene) -> bool:
    """One sweep removes everything, although the daemon lives."""
    from tests.support.universal import sweep

    daemons = [pid for pid, line in scene.processes().items() if "time.sleep(600)" in line]
    assert len(daemons) == 1
    complete = sweep(scene.home.root).left == ()
    os.kill(daemons[0], signal.SIGKILL)
    return complete


def test_a_background_job_that_ignores_ctrl_c_still_ends_on_sigterm(scene: Scene) -> None:
    """Started by a script in the background, pytest ignores SIGINT; SIGTERM ends it, and one sweep removes everything."""
    scene.write(HEAD + BUSY.format(kind="shared", seconds=600))
    ignoring = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process: subprocess.Popen[str] = scene.start()
    finally:
        signal.signal(signal.SIGINT, ignoring)
    scene.told("busy-main")
    interrupt(process)
    process.terminate()
    assert finish(process).returncode == -signal.SIGTERM
    scene.is_swept()
