"""Faults by their number in docs/guarantees.md, on clusters that are one etcd each under the real supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_kina import _idle, _supervisor, crashpoints
from pytest_kina.errors import KinaError, PoolTimeoutError
from pytest_kina.pool.records import Record, State, record_path
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.waiting import Deadline, wait_until
from tests.support.etcd_provider import NAME
from tests.support.pool_kit import Kit, run_id
from tests.support.universal import every_process, leftovers, processes_below, sweep

pytestmark = pytest.mark.real_control_plane

REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from tests.support.etcd_provider import NAME
from tests.support.pool_kit import Kit

lease = Kit(Path(sys.argv[1]), size=1, ttl=0.0).lease(provider_name=NAME)
print(lease.directory, flush=True)
sys.stdin.readline()
print(lease.unhealthy(), flush=True)
lease.release()
"""


@pytest.fixture
def root(tmp_path: Path, assets: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root; whatever a failed test has left running below it is ended."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # the idle helper must find the provider
    yield tmp_path / "root"
    for pid in processes_below(tmp_path / "root"):
        os.kill(pid, signal.SIGKILL)


def eventually(look: Callable[[], object]) -> None:
    """Fail when something does not become true; nothing here is about speed."""
    assert wait_until(look, Deadline(30.0), interval=0.02), "it did not happen"


def pid_of(directory: Path, part: str) -> int:
    """The process of a cluster whose command line begins with, or is run by, ``part``."""
    found = [pid for pid, line, _ in every_process() if part in line and f"{directory}" in line]
    assert len(found) == 1, found
    return found[0]


def end(kit: Kit) -> None:
    """Delete what a kit's run has left, and prove that nothing is."""
    kit.pool.retire()
    kit.pool.close()
    eventually(lambda: not processes_below(kit.root.path))
    assert sweep(kit.root.path).left == ()


@pytest.mark.parametrize("pdeathsig", [True, False], ids=["linux", "elsewhere"])
def test_6_and_7_a_killed_supervisor(
    root: Path, pdeathsig: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its cluster is found dead at the next look; its components die with it, or (without PDEATHSIG) by the sweep."""
    if not pdeathsig:
        for module in (_idle, crashpoints):
            shutil.copy(module.__file__, tmp_path)
        script = tmp_path / "supervisor.py"
        source = Path(_supervisor.__file__).read_text(encoding="utf-8")
        assert source.count('_LINUX = sys.platform == "linux"') == 1
        script.write_text(source.replace('_LINUX = sys.platform == "linux"', "_LINUX = False"), encoding="utf-8")
        monkeypatch.setattr(_supervisor, "__file__", str(script))
    kit = Kit(root, ttl=0.0)
    lease = kit.lease(provider_name=NAME)
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    supervisor, etcd = pid_of(lease.directory, "upervisor.py"), pid_of(lease.directory, "/etcd --")
    os.kill(supervisor, signal.SIGKILL)
    if pdeathsig:
        eventually(lease.unhealthy)
        eventually(lambda: etcd not in processes_below(root))
    lease.release()
    kit.pool.close()
    swept = sweep(root)
    assert swept.left == ()
    assert any(lease.name in sentence for sentence in swept.said)
    assert stranger.poll() is None, "a foreign process was touched"
    stranger.kill()
    stranger.wait()


def test_9_a_worker_killed_during_a_reset(root: Path) -> None:
    """The record says DIRTY with an attempt counted, never READY; the next taker resets it for good."""
    kit = Kit(root, ttl=60.0)
    lease = kit.lease(provider_name=NAME)
    os.kill(pid_of(lease.directory, "upervisor.py"), signal.SIGKILL)  # or its idle helper might be quicker than we are
    lease.release()
    program = f"import sys; from pathlib import Path; from tests.support.pool_kit import Kit; Kit(Path(sys.argv[1])).lease(provider_name={NAME!r})"
    env = os.environ | {"KINA_CRASH": "reset.after:exit"}
    done = subprocess.run([sys.executable, "-c", program, str(root)], env=env, cwd=REPOSITORY, check=False)
    assert done.returncode == 137
    record = kit.record(lease.number)
    assert record is not None
    assert (record.state, record.attempts) == (State.DIRTY, 1)
    again = kit.lease(provider_name=NAME)
    assert (again.name, again.start, again.unhealthy()) == (lease.name, "reused", None)
    again.release()
    end(kit)


def test_13_a_stopped_holder_keeps_its_cluster(root: Path) -> None:
    """Stopped for longer than others wait, a holder keeps its slot; they end at their deadline and name it as stopped."""
    argv = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        directory = Path(holder.stdout.readline().strip())
        holder.send_signal(signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        kit = Kit(root, size=1, ttl=0.0, lease_timeout=0.5)
        with pytest.raises(PoolTimeoutError, match=rf"process {holder.pid} \(main\), which is STOPPED"):
            kit.lease(provider_name=NAME)
        kit.pool.tidy()
        kubeconfig = (directory / "kubeconfig").read_bytes()
        holder.send_signal(signal.SIGCONT)
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline().strip() == "None", "it found its cluster unhealthy"
        assert (directory / "kubeconfig").read_bytes() == kubeconfig
    end(kit)


@pytest.mark.parametrize("state", list(State))
def test_15_after_a_reboot_every_record_is_of_the_dead(root: Path, state: State) -> None:
    """With another boot's supervisor in its directory no pid is believed or signalled, and the slot serves again."""
    kit = Kit(root, ttl=60.0)
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    name = f"kina-{kit.root.pool_id}-0-0badc0de"
    directory = kit.root.clusters / name
    directory.mkdir(mode=0o700)
    ticks = _supervisor.start_ticks(stranger.pid)
    identity = f'{{"schema": 1, "pid": {stranger.pid}, "start_ticks": {ticks}, "boot_id": "of before"}}'
    Layout(directory).identity.write_text(identity, encoding="utf-8")
    users = (f"{run_id()}.{stranger.pid}.deadbeef",) if state is State.SHARED else ()
    kit.put(0, Record(state=state, cluster=name, provider=NAME, fingerprint="x", run=run_id(), users=users))
    lease = kit.lease(provider_name=NAME) if state is not State.QUARANTINED else None
    if lease:
        assert (lease.start, lease.unhealthy()) == ("fresh", None)
        lease.release()
    kit.pool.tidy()
    assert name not in kit.clusters()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    end(kit)


@pytest.mark.parametrize("days", [-1, 1])
def test_16_a_clock_that_jumps_costs_nobody_a_lease(root: Path, days: int) -> None:
    """With the wall clock a day off, a held cluster stays with its holder; no idle cluster lives for a day too long."""
    kit, other = Kit(root, ttl=60.0), Kit(root, ttl=60.0)
    lease = kit.lease(provider_name=NAME)
    path = record_path(kit.root.slots, lease.number)
    moment = time.time() + days * 86_400
    os.utime(path, (moment, moment))
    other.pool.tidy()
    assert lease.unhealthy() is None
    assert kit.record(lease.number) is not None
    lease.release()  # notes the time as it is now
    other.pool.tidy()
    assert kit.states()[lease.number] in ("DIRTY", "READY")
    end(kit)
    other.pool.close()


@pytest.mark.parametrize("content", ["", '{"schema": 1, "state": "READ', "\0\0\0\0"])
def test_18_a_torn_record_of_a_running_cluster(root: Path, content: str) -> None:
    """It is moved aside and reported, its cluster is ended by name, and the slot serves again."""
    kit = Kit(root, size=1, ttl=60.0)
    lease = kit.lease(provider_name=NAME)
    lease.release()
    record_path(kit.root.slots, 0).write_text(content, encoding="utf-8")
    said = kit.pool.tidy()
    if not any("malformed" in sentence for sentence in said):  # the cluster's own helper was quicker
        assert list(kit.root.slots.glob("0.json.torn-*")) != []
    assert list(kit.root.slots.glob("0.json.torn-*")) != []
    eventually(lambda: lease.name not in kit.clusters())
    again = kit.lease(provider_name=NAME)
    assert (again.start, again.unhealthy()) == ("fresh", None)
    again.release()
    end(kit)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_23_a_component_that_is_gone_or_stuck(root: Path, number: signal.Signals) -> None:
    """A dead or stopped etcd is seen at the next look; whoever asks next gets another cluster; nothing is left."""
    kit = Kit(root, size=1, ttl=60.0)
    lease = kit.lease("namespace", provider_name=NAME)
    os.kill(pid_of(lease.directory, "/etcd --"), number)
    eventually(lease.unhealthy)
    lease.release()
    again = kit.lease("exclusive", provider_name=NAME)
    assert again.unhealthy() is None
    if number is signal.SIGKILL:
        assert again.name == lease.name or lease.name not in kit.clusters()
    again.release()
    end(kit)


def test_25_a_root_that_is_removed_ends_its_clusters(root: Path) -> None:
    """Supervisors whose directory is gone end their clusters; who asks in the removed root is told so, and invents none."""
    kit = Kit(root, ttl=60.0)
    lease = kit.lease(provider_name=NAME)
    assert processes_below(root)
    shutil.rmtree(root)
    eventually(lambda: not processes_below(root))
    assert lease.unhealthy()
    with pytest.raises(KinaError, match="has been removed while it was in use"):
        Kit.lease(kit, provider_name=NAME)
    assert not root.exists()
    lease.release()
    again = Kit(root, ttl=0.0)
    assert again.lease(provider_name=NAME).unhealthy() is None
    end(again)


def test_a_record_of_a_newer_version_is_left_alone(root: Path) -> None:
    """Its slot is neither used nor swept, and the next slot serves."""
    kit = Kit(root, ttl=0.0)
    newer = record_path(kit.root.slots, 0)
    newer.write_text('{"schema": 99, "state": "LENT"}', encoding="utf-8")
    lease = kit.lease(provider_name=NAME)
    assert lease.number == 1
    lease.release()
    kit.pool.tidy()
    assert newer.read_text(encoding="utf-8") == '{"schema": 99, "state": "LENT"}'
    kit.pool.retire()
    kit.pool.close()
    newer.unlink()
    assert list(leftovers(root)) == []
