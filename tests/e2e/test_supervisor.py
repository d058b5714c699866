"""The supervisor as a real process, with ordinary programs as components and real signals."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import _supervisor
from pytest_kina.cluster.simulating.kwok import STAGES_FILE, Kwok
from pytest_kina.errors import StateError
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import link as links
from pytest_kina.providers.embedded import processes
from pytest_kina.providers.embedded.link import Link, LinkBroken
from pytest_kina.waiting import Deadline, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and pidfds to look at the processes")

SLEEP = ["/bin/sleep", "300"]
# The supervisor as it is elsewhere: neither Linux nor /proc. The standard library has met the real system by then.
ELSEWHERE = f"""
import ctypes, json, pathlib, runpy, select, signal, socket, subprocess, sys, sysconfig
sysconfig.get_config_vars()

def hiding(read):
    def reading(path, *how, **named):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(path)
        return read(path, *how, **named)
    return reading

for name in ("read_bytes", "read_text"):
    setattr(pathlib.Path, name, hiding(getattr(pathlib.Path, name)))
sys.platform = "darwin"
runpy.run_path({_supervisor.__file__!r}, run_name="__main__")
"""
QUIET = ("/bin/echo", '{"wake_after": null, "watch": [], "stop": false}')


def until(look: Callable[[], Any]) -> Any:
    """What ``look`` returns once it is true; fails when that takes too long."""
    seen = wait_until(look, Deadline(15), interval=0.005)
    assert seen, "did not happen within 15 s"
    return seen


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    return _supervisor.start_ticks(pid) is not None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A cluster's place, and the proof that nothing of it runs after the test."""
    directory = tmp_path / f"kina-test-0-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    (tmp_path / "0.lock").touch()
    here = Place(name=directory.name, directory=directory, slot_lock=tmp_path / "0.lock", tidy=QUIET)
    yield here
    left = [pid for pid, name in processes.marked().items() if name == here.name]
    processes.kill_marked(here.name, 5)
    links.reap()
    assert not left, "the test left processes"


def started(place: Place, *names: str, argv: list[str] | None = None) -> tuple[Link, dict[str, int]]:
    """A supervisor with a component per name, and the components' pids."""
    link = Link(place, place.directory / "supervisor.log")
    for name in names:
        link.spawn(name, argv or SLEEP, {}, place.directory / f"{name}.log", Deadline(10))
    return link, components(place)


def components(place: Place) -> dict[str, int]:
    """Pids of the cluster's components (and of the supervisor), by command and pid."""
    mine = [pid for pid, name in processes.marked().items() if name == place.name]
    return {f"{command}{pid}": pid for pid in mine if (command := command_of(pid))}


def command_of(pid: int) -> str | None:
    """The name of the program that a process runs; None when it has gone meanwhile."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def supervisor_of(place: Place) -> int:
    """The supervisor's pid, once it has introduced itself."""
    return int(until(lambda: processes.supervisor(place.directory / _supervisor.IDENTITY_FILE, place.name)))


def adopted(place: Place, *names: str) -> dict[str, int]:
    """The same as :func:`started`, adopted."""
    link, pids = started(place, *names)
    link.adopt(Deadline(10))
    return pids


def hold(lock: Path) -> int:
    """Take the lock like filelock does; closing the descriptor releases it."""
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def assert_ends(pids: dict[str, int]) -> None:
    """All of them end."""
    assert pids
    until(lambda: not any(map(alive, pids.values())))


# ---- orders and events


def test_an_exit_is_reported_with_its_code(place: Place) -> None:
    """The creator learns that a component has exited, and with which code."""
    link, _ = started(place, "failing", argv=["/bin/sh", "-c", "exit 7"])
    assert str(until(link.exits)[0]) == "failing exited with code 7"
    link.close()
    until(lambda: not components(place))


def test_an_exit_is_reported_with_its_signal(place: Place) -> None:
    """The creator learns which signal killed a component."""
    link, _ = started(place, "killed", argv=["/bin/sh", "-c", "kill -9 $$"])
    assert str(until(link.exits)[0]) == "killed was killed by signal 9"
    link.close()
    until(lambda: not components(place))


def test_a_program_that_cannot_be_executed_is_named(place: Place) -> None:
    """A missing program is an answer to the order, not a crash of the supervisor."""
    link, _ = started(place, "fine")
    with pytest.raises(LinkBroken, match=r"ghost could not be executed: .*No such file"):
        link.spawn("ghost", ["/nowhere/ghost"], {}, place.directory / "ghost.log", Deadline(10))
    assert link.exits() == []
    link.close()
    until(lambda: not components(place))


def test_output_goes_to_the_log(place: Place) -> None:
    """What a component writes, to either stream, is in its log, readable by its owner only."""
    link, _ = started(place, "talking", argv=["/bin/sh", "-c", "echo out; echo err >&2"])
    until(link.exits)
    log = place.directory / "talking.log"
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("out\nerr\n", 0o600)
    link.close()
    until(lambda: not components(place))


def test_reserved_ports_are_ours_alone(place: Place) -> None:
    """A reserved port cannot be bound by others, refuses connections, and is free again when the cluster ends."""
    link = Link(place, place.directory / "supervisor.log")
    ports = link.reserve(["a", "b"], Deadline(10))
    assert len(set(ports.values())) == 2
    for port in ports.values():
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="Address already in use"):
                stranger.bind(("127.0.0.1", port))
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    pid = supervisor_of(place)
    link.close()
    until(lambda: not alive(pid))
    with socket.socket() as next_one:
        next_one.bind(("127.0.0.1", ports["a"]))


def test_a_component_listens_on_a_reserved_port(place: Place) -> None:
    """A component of ours shares its reserved port, and all connections reach it."""
    link = Link(place, place.directory / "supervisor.log")
    port = link.reserve(["web"], Deadline(10))["web"]
    code = (
        "import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        f"s.bind(('127.0.0.1', {port})); s.listen()\n"
        "while True: s.accept()[0].sendall(b'mine')"
    )
    link.spawn("web", [sys.executable, "-IS", "-c", code], {}, place.directory / "web.log", Deadline(10))

    def greeting() -> bytes | None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                return client.recv(4)
        except ConnectionRefusedError:
            return None

    assert until(greeting) == b"mine"
    assert all(greeting() == b"mine" for _ in range(50))
    link.close()
    until(lambda: not components(place))


def test_environment_is_a_list_of_known_names(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither supervisor nor components see our environment; a component sees what was ordered, and the mark."""
    monkeypatch.setenv("KUBECONFIG", "/home/me/production")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    link = Link(place, place.directory / "supervisor.log")
    link.spawn("env", ["/usr/bin/env"], {"A": "1"}, place.directory / "env.log", Deadline(10))
    until(link.exits)
    assert set((place.directory / "env.log").read_text().split()) == {"A=1", f"KINA_CLUSTER={place.name}"}
    environ = Path(f"/proc/{supervisor_of(place)}/environ").read_text()
    assert "KUBECONFIG" not in environ
    assert "SECRET_TOKEN" not in environ
    link.close()
    until(lambda: not components(place))


def test_the_supervisor_has_a_session_of_its_own(place: Place) -> None:
    """A Ctrl-C in our terminal reaches neither the supervisor nor the components."""
    link, pids = started(place, "one")
    assert {os.getsid(pid) for pid in pids.values()} == {supervisor_of(place)}
    link.close()
    assert_ends(pids)


def test_a_creator_that_does_not_read_blocks_nothing(place: Place) -> None:
    """Orders are still obeyed when the pipe for events is full."""
    link = Link(place, place.directory / "supervisor.log")
    written = place.directory / "obeyed"
    stdin = link._process.stdin
    assert stdin is not None
    for _ in range(4000):
        stdin.write(b'{"order": "reserve", "ports": []}\n')
    order = {"order": "spawn", "component": "c", "argv": ["/bin/touch", str(written)], "env": {}, "log": "/dev/null"}
    stdin.write(json.dumps(order).encode() + b"\n")
    until(written.exists)
    link.close()
    until(lambda: not components(place))


def test_a_lack_of_descriptors_or_ports_is_an_answer(place: Place) -> None:
    """When no more ports can be reserved the supervisor says so, and lives on."""
    link = Link(place, place.directory / "supervisor.log")
    resource.prlimit(supervisor_of(place), resource.RLIMIT_NOFILE, (40, 40))
    with pytest.raises(LinkBroken, match=r"no port could be reserved: .*Too many open files"):
        link.reserve([str(number) for number in range(50)], Deadline(10))
    assert alive(supervisor_of(place))
    link.close()
    until(lambda: not components(place))


# ---- before adoption: the creator decides


def test_closing_the_pipe_before_adoption_ends_everything(place: Place) -> None:
    """A cluster that nobody has announced ends when its creator lets go of it."""
    link, pids = started(place, "one", "two")
    link.close()
    assert_ends(pids)


CREATOR = """
import os, sys, time
from pathlib import Path
from pytest_kina.providers import Place
from pytest_kina.providers.embedded.link import Link
from pytest_kina.waiting import Deadline
directory, keep_copy, adopt = Path(sys.argv[1]), sys.argv[2] == "copy", sys.argv[2] == "adopt"
link = Link(Place(name=directory.name, directory=directory, slot_lock=directory.parent / "0.lock", tidy=()), directory / "supervisor.log")
link.spawn("one", ["/bin/sleep", "300"], {}, directory / "one.log", Deadline(10))
if keep_copy and os.fork() == 0:
    os.close(1)
    time.sleep(300)
if adopt:
    link.adopt(Deadline(10))
print("started", flush=True)
time.sleep(300)
"""


@pytest.fixture
def creator(place: Place) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Runs a creator in a process of its own, in one of three ways; its whole group is killed after the test."""
    running: list[subprocess.Popen[str]] = []

    def run(way: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", CREATOR, str(place.directory), way]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return process

    yield run
    for process in running:
        with contextlib.suppress(ProcessLookupError):  # the test may have killed the only one
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_killed_creator_takes_its_cluster_with_it(
    place: Place, creator: Callable[[str], subprocess.Popen[str]]
) -> None:
    """SIGKILL of the creator before adoption leaves nothing running."""
    process = creator("plain")
    pids = components(place)
    process.kill()
    assert_ends(pids)


def test_a_forked_copy_of_the_pipe_does_not_keep_the_cluster(
    place: Place, creator: Callable[[str], subprocess.Popen[str]]
) -> None:
    """The creator's death counts, not only the end of stdin: a forked child may hold the pipe open for long."""
    process = creator("copy")
    pids = components(place)
    process.kill()
    assert_ends(pids)


def test_an_adopted_cluster_outlives_its_creator(place: Place, creator: Callable[[str], subprocess.Popen[str]]) -> None:
    """After adoption the creator may die, and the cluster is ended through its stop file."""
    process = creator("adopt")
    pids = components(place)
    process.kill()
    process.wait()
    assert select.select([], [], [], 3 * _supervisor._TICK) == ([], [], [])
    assert all(map(alive, pids.values()))
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


# ---- after adoption: the directory decides


def test_a_killed_supervisor_takes_its_components_with_it(place: Place) -> None:
    """SIGKILL of the supervisor leaves no component: the kernel sends them the same."""
    pids = adopted(place, "one", "two")
    assert len(pids) == 3
    os.kill(supervisor_of(place), signal.SIGKILL)
    assert_ends(pids)


@pytest.mark.parametrize("way", ["stop file", "directory removed", "SIGTERM"])
def test_ways_to_end_an_adopted_cluster(place: Place, way: str) -> None:
    """A stop file, the loss of its directory and SIGTERM each end supervisor and components."""
    pids = adopted(place, "one", "two")
    if way == "stop file":
        (place.directory / _supervisor.STOP_FILE).touch()
    elif way == "SIGTERM":
        os.kill(supervisor_of(place), signal.SIGTERM)
    else:
        shutil.rmtree(place.directory)
    assert_ends(pids)


def test_a_system_that_is_not_linux_has_all_but_the_kernels_help(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports are chosen and not kept, a process is known by its pid alone, and the stop file ends everything, too."""
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.setattr(_supervisor, "__file__", str(tmp_path / "elsewhere.py"))
    link = Link(place, place.directory / "supervisor.log")
    ports = link.reserve(["etcd", "api"], Deadline(10))
    assert len(set(ports.values())) == 2
    for port in ports.values():
        socket.create_server(("127.0.0.1", port)).close()
    for name in ("etcd", "api"):
        link.spawn(name, SLEEP, {}, place.directory / f"{name}.log", Deadline(10))
    pids = components(place)
    link.adopt(Deadline(10))
    introduced = json.loads((place.directory / _supervisor.IDENTITY_FILE).read_text())
    assert introduced["pid"] in pids.values()
    assert (introduced["start_ticks"], introduced["boot_id"]) == (None, None)
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_neither_a_stubborn_component_nor_its_children_survive(place: Place) -> None:
    """Stopping does not ask the components, and what they have started ends with them."""
    script = f"trap '' TERM; sleep 300 & echo $! > {place.directory / 'child'}; while :; do wait; done"
    link, _ = started(place, "stubborn", argv=["/bin/sh", "-c", script])
    child = int(until(lambda: (place.directory / "child").exists() and (place.directory / "child").read_text()))
    pids = components(place)
    assert child in pids.values()
    link.adopt(Deadline(10))
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_the_death_of_a_component_ends_the_cluster_and_is_written_down(place: Place) -> None:
    """When a component of an adopted cluster dies, the rest ends and died.json says who was first."""
    link, _ = started(place, "lasting")
    link.spawn("dying", ["/bin/sh", "-c", "sleep 0.2; exit 3"], {}, place.directory / "dying.log", Deadline(10))
    pids = components(place)
    link.adopt(Deadline(10))
    assert_ends(pids)
    died = json.loads((place.directory / _supervisor.DIED_FILE).read_text())
    assert {key: died[key] for key in ("component", "code", "signal")} == {
        "component": "dying",
        "code": 3,
        "signal": None,
    }


def crashing(place: Place, script: str, *, stateless: bool = True) -> Link:
    """A supervisor with a component that lasts, and one that writes a line and then does what the script says."""
    link, _ = started(place, "lasting")
    script = f"echo started; {script}"
    log = place.directory / "kwok.log"
    link.spawn("kwok", ["/bin/sh", "-c", script], {}, log, Deadline(10), stateless=stateless)
    return link


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_crash_of_a_stateless_component_is_mended(place: Place, is_adopted: bool) -> None:
    """It is started again, its log says so, and nobody is told of a death."""
    once = place.directory / "crashed"
    link = crashing(place, f"test -e {once} && exec sleep 300; touch {once}; exit 2")
    if is_adopted:
        link.adopt(Deadline(10))
    until(lambda: (place.directory / "kwok.log").read_text().count("started\n") == 2)
    assert "kwok has crashed and is started again" in (place.directory / "kwok.log").read_text()
    until(lambda: len(sleeping(place)) == 2)
    assert not (place.directory / _supervisor.DIED_FILE).exists()
    assert is_adopted or link.exits() == []
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(components(place))
    link.close()


@pytest.mark.parametrize(
    ("script", "stateless", "starts"),
    [("exit 2", True, 4), ("exit 1", True, 1), ("exit 0", True, 1), ("kill -KILL $$", True, 1), ("exit 2", False, 1)],
    ids=["again and again", "an error", "an end", "a kill", "with a state"],
)
def test_what_is_no_passing_crash_ends_the_cluster(place: Place, script: str, stateless: bool, starts: int) -> None:
    """Nor are crashes without end, exits that a component has chosen, kills, and crashes of components with a state."""
    link = crashing(place, f"sleep 0.1; {script}", stateless=stateless)
    link.adopt(Deadline(10))
    until((place.directory / _supervisor.DIED_FILE).exists)
    assert json.loads((place.directory / _supervisor.DIED_FILE).read_text())["component"] == "kwok"
    assert (place.directory / "kwok.log").read_text().count("started\n") == starts
    until(lambda: not components(place))
    link.close()


@pytest.mark.parametrize("content", [b"", b"{torn", b"7", b'{"other": 1}', b'{"component": "stranger"}'])
def test_a_restart_that_makes_no_sense_is_refused_and_harms_nobody(place: Place, content: bytes) -> None:
    """A malformed request is answered with an error and goes away; the cluster lives on."""
    link, running = started(place, "etcd")
    link.adopt(Deadline(10))
    link.close()
    asked = place.directory / _supervisor.RESTART_FILE
    asked.write_bytes(content)
    until(lambda: not asked.exists())
    answer = json.loads(until(lambda: _read(place.directory / _supervisor.RESTARTED_FILE)))
    assert "malformed" in answer["error"] or answer["error"] == "stranger does not run"
    assert components(place) == running
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(running)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def test_a_death_that_the_creator_did_not_see_counts_at_adoption(place: Place) -> None:
    """A component that exited before the adoption is not forgotten by it."""
    link, pids = started(place, "gone", argv=["/bin/true"])
    until(link.exits)
    link.adopt(Deadline(10))
    until((place.directory / _supervisor.DIED_FILE).exists)
    assert_ends(pids | {"supervisor": supervisor_pid_from_file(place)})


def supervisor_pid_from_file(place: Place) -> int:
    """The pid that the supervisor wrote, whether it still runs or not."""
    return int(json.loads((place.directory / _supervisor.IDENTITY_FILE).read_text())["pid"])


def test_an_adopted_supervisor_lets_go_of_the_pipes(place: Place) -> None:
    """Adoption closes both pipes, so that whoever waits for their end does not wait for the cluster."""
    link, pids = started(place, "one")
    pid = supervisor_of(place)
    link.adopt(Deadline(10))
    until(lambda: {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (0, 1)} == {os.devnull})
    os.kill(pid, signal.SIGTERM)
    assert_ends(pids)


# ---- identity


def test_a_supervisor_is_known_by_start_and_mark(place: Place, tmp_path: Path) -> None:
    """A pid alone names nobody: another start, another boot or another cluster's mark is somebody else."""
    link, pids = started(place)
    pid = supervisor_of(place)
    written = json.loads((place.directory / _supervisor.IDENTITY_FILE).read_text())
    assert written["pid"] == pid
    other = tmp_path / "other.json"
    for change in ({"start_ticks": written["start_ticks"] + 1}, {"boot_id": "another"}, {"pid": "1"}):
        other.write_text(json.dumps(written | change))
        assert processes.supervisor(other, place.name) is None
    other.write_text(json.dumps(written))
    assert processes.supervisor(other, "kina-other-0-12345678") is None
    assert processes.supervisor(other, place.name) == pid
    link.close()
    assert_ends(pids | {"supervisor": pid})
    assert processes.supervisor(other, place.name) is None


def test_a_stopped_supervisor_is_killed_for_certain(place: Place) -> None:
    """A supervisor that does not react is killed, and its components with it."""
    pids = adopted(place, "one")
    pid = supervisor_of(place)
    os.kill(pid, signal.SIGSTOP)
    assert not processes.terminate(pid, place.name, 0.1)
    assert processes.kill_marked(place.name, 10) == []
    assert_ends(pids)


def test_terminate_spares_a_stranger(place: Place) -> None:
    """A recycled pid, whose process lacks the mark, gets no signal."""
    stranger = subprocess.Popen(SLEEP)
    try:
        assert processes.terminate(stranger.pid, place.name, 0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# ---- the idle helper


def helper(tmp_path: Path, **answer: Any) -> tuple[str, ...]:
    """A helper that notes each of its runs (with its session and mark) and gives the answer."""
    text = json.dumps({"wake_after": None, "watch": [], "stop": False} | answer)
    script = tmp_path / "helper.py"
    script.write_text(
        "import os, sys\n"
        f"with open({str(tmp_path / 'runs')!r}, 'a') as runs:\n"
        "    own_session = os.getsid(0) == os.getpid()\n"
        "    print(own_session, os.environ.get('KINA_CLUSTER'), file=runs)\n"
        f"print({text!r})\n"
    )
    return (sys.executable, "-IS", str(script))


def runs(tmp_path: Path) -> list[str]:
    """One line per run of the helper."""
    path = tmp_path / "runs"
    return path.read_text().splitlines() if path.exists() else []


def with_helper(place: Place, tidy: tuple[str, ...]) -> Place:
    """The same place with another helper."""
    return Place(name=place.name, directory=place.directory, slot_lock=place.slot_lock, tidy=tidy)


def test_the_helper_waits_for_the_lock_and_can_end_the_cluster(place: Place, tmp_path: Path) -> None:
    """While the slot is held nothing runs; when it is free the helper does, in its own session, without the mark."""
    held = hold(place.slot_lock)
    pids = adopted(with_helper(place, helper(tmp_path, stop=True)), "one")
    assert select.select([], [], [], 4 * _supervisor._TICK) == ([], [], [])
    assert runs(tmp_path) == []
    os.close(held)
    assert_ends(pids)
    assert runs(tmp_path) == ["True None"]


def test_the_helper_does_not_run_before_adoption(place: Place, tmp_path: Path) -> None:
    """A cluster that is still being made is nobody's to tidy."""
    link, pids = started(with_helper(place, helper(tmp_path)), "one")
    assert select.select([], [], [], 4 * _supervisor._TICK) == ([], [], [])
    assert runs(tmp_path) == []
    link.close()
    assert_ends(pids)


def test_a_changed_record_wakes_the_helper(place: Place, tmp_path: Path) -> None:
    """A record that was replaced while the lock was free is looked at."""
    pids = adopted(with_helper(place, helper(tmp_path)), "one")
    until(lambda: len(runs(tmp_path)) == 1)
    place.slot_lock.with_suffix(".json").write_text("{}")
    until(lambda: len(runs(tmp_path)) == 2)
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_a_finished_lease_wakes_the_helper(place: Place, tmp_path: Path) -> None:
    """A lock that was held since the last look means that there may be something to do."""
    pids = adopted(with_helper(place, helper(tmp_path)), "one")
    until(lambda: len(runs(tmp_path)) == 1)
    held = hold(place.slot_lock)
    assert select.select([], [], [], 3 * _supervisor._TICK) == ([], [], [])
    os.close(held)
    until(lambda: len(runs(tmp_path)) == 2)
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_the_helper_runs_again_when_it_said_so(place: Place, tmp_path: Path) -> None:
    """``wake_after`` is obeyed, again and again."""
    pids = adopted(with_helper(place, helper(tmp_path, wake_after=0.1)), "one")
    until(lambda: len(runs(tmp_path)) == 3)
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_the_helper_runs_when_all_watched_locks_are_free(place: Place, tmp_path: Path) -> None:
    """One of two watched locks is not enough; both are."""
    first, second = tmp_path / "first.lock", tmp_path / "second.lock"
    first.touch()
    second.touch()
    held = [hold(first), hold(second)]
    pids = adopted(with_helper(place, helper(tmp_path, watch=[str(first), str(second)])), "one")
    until(lambda: len(runs(tmp_path)) == 1)
    os.close(held[0])
    first.unlink()
    assert select.select([], [], [], 4 * _supervisor._TICK) == ([], [], [])
    assert len(runs(tmp_path)) == 1
    os.close(held[1])
    until(lambda: len(runs(tmp_path)) >= 2)
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_the_helper_survives_the_end_of_its_supervisor(place: Place, tmp_path: Path) -> None:
    """A helper that resets the cluster kills its own parent, and must be able to go on."""
    done = tmp_path / "done"
    script = tmp_path / "resetting.py"
    script.write_text(
        "import os, pathlib, signal, time\n"
        "parent = os.getppid()\n"
        "os.kill(parent, signal.SIGKILL)\n"
        "while os.getppid() == parent: time.sleep(0.005)\n"
        f"pathlib.Path({str(done)!r}).touch()\n"
    )
    pids = adopted(with_helper(place, (sys.executable, "-IS", str(script))), "one")
    until(done.exists)
    assert_ends(pids)


def test_a_helper_that_fails_costs_little_and_ends_nothing(place: Place, tmp_path: Path) -> None:
    """A helper that crashes is tried again later and later, and its complaint is kept."""
    argv = (
        sys.executable,
        "-IS",
        "-c",
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x\\n'); raise SystemExit('broken')",
    )
    pids = adopted(with_helper(place, argv), "one")
    until(lambda: len(runs(tmp_path)) == 2)
    until(lambda: "broken" in (place.directory / "tidy.log").read_text())
    assert all(map(alive, pids.values()))
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_idle_supervision_costs_next_to_nothing(place: Place) -> None:
    """An idle supervisor makes a few looks a second: it is asleep nearly always."""
    pids = adopted(place, "one")
    pid = supervisor_of(place)
    time.sleep(2 * _supervisor._TICK)  # the first helper's run is over

    def switches() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before, began = switches(), time.monotonic()
    select.select([], [], [], 2.0)
    assert (switches() - before) / (time.monotonic() - began) < 20
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


# ---- starting a component again


def stage(name: str) -> dict[str, Any]:
    """As much of a stage as its file needs."""
    return {"metadata": {"name": name}}


def sleeping(place: Place) -> set[int]:
    """The pids of the components; not of the supervisor, nor of an idle helper that it is just starting."""
    return {pid for name, pid in components(place).items() if name.startswith("sleep")}


def stages_of(place: Place) -> list[str]:
    """The names of the stages in the cluster's file."""
    lines = (place.directory / STAGES_FILE).read_text().splitlines()
    return [json.loads(line)["metadata"]["name"] for line in lines if line != "---"]


@pytest.mark.parametrize("is_adopted", [False, True])
def test_kwok_is_started_again_with_each_change(place: Place, is_adopted: bool) -> None:
    """A change of its stages ends kwok and starts another one; the others go on, and no death is reported."""
    (place.directory / STAGES_FILE).touch()
    link, _ = started(place, "etcd", "kwok")
    before = sleeping(place)
    if is_adopted:
        link.adopt(Deadline(10))
    Kwok(place.directory).add("a", [stage("x")], [stage("common")])
    after = sleeping(place)
    assert stages_of(place) == ["common", "a-x"]
    assert (len(before), len(after), len(before & after)) == (2, 2, 1)
    Kwok(place.directory).remove("a")
    assert stages_of(place) == ["common"]
    unchanged = sleeping(place)
    assert unchanged != after
    Kwok(place.directory).remove("a")
    assert sleeping(place) == unchanged
    assert not (place.directory / _supervisor.DIED_FILE).exists()
    assert is_adopted or link.exits() == []
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(components(place))
    link.close()


def test_changes_of_many_processes_are_all_made(place: Place) -> None:
    """Several users of a shared cluster change it at once: none is lost, none waits for an answer that is another's."""
    (place.directory / STAGES_FILE).touch()
    adopted(place, "kwok")
    script = (
        "import sys; from pathlib import Path; from pytest_kina.cluster.simulating.kwok import Kwok\n"
        "for each in range(5): Kwok(Path(sys.argv[1])).add(f'{sys.argv[2]}{each}', [{'metadata': {'name': 'x'}}], [])"
    )
    changers = [
        subprocess.Popen([sys.executable, "-c", script, str(place.directory), name], env={**os.environ})
        for name in "abcd"
    ]
    assert [changer.wait(60) for changer in changers] == [0] * 4
    assert sorted(stages_of(place)) == sorted(f"{name}{each}-x" for name in "abcd" for each in range(5))
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(components(place))


def test_simulating_on_an_ended_cluster_is_an_error(place: Place) -> None:
    """Whether the supervisor has ended or the directory is gone: a sentence, at once, and the file is as before."""
    (place.directory / STAGES_FILE).touch()
    pids = adopted(place, "kwok")
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)
    with pytest.raises(StateError, match=r"cannot be changed: its supervisor is not running"):
        Kwok(place.directory).add("a", [stage("x")], [])
    assert stages_of(place) == []
    (place.directory / STAGES_FILE).unlink()
    with pytest.raises(StateError, match=r"No such file[\s\S]*take another cluster"):
        Kwok(place.directory).add("a", [stage("x")], [])


def test_a_cluster_without_kwok_says_so(place: Place) -> None:
    """The supervisor answers that there is no such component, and goes on."""
    (place.directory / STAGES_FILE).touch()
    pids = adopted(place, "etcd")
    with pytest.raises(StateError, match=r"kwok does not run"):
        Kwok(place.directory).add("a", [stage("x")], [])
    assert sleeping(place) == {pid for name, pid in pids.items() if name.startswith("sleep")}
    (place.directory / _supervisor.STOP_FILE).touch()
    assert_ends(pids)


def test_a_kwok_that_cannot_start_again_ends_the_cluster(place: Place) -> None:
    """Its program has vanished, say: whoever asked is told, and died.json names it."""
    (place.directory / STAGES_FILE).touch()
    program = place.directory / "program"
    shutil.copy("/bin/sleep", program)
    link, _ = started(place, "kwok", argv=[str(program), "300"])
    link.adopt(Deadline(10))
    program.unlink()
    with pytest.raises(StateError, match=r"kwok could not be started again: .*No such file"):
        Kwok(place.directory).add("a", [stage("x")], [])
    until(lambda: not components(place))
    assert json.loads((place.directory / _supervisor.DIED_FILE).read_text())["component"] == "kwok"
