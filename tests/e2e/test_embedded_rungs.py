"""What a start that fails says, rung by rung, with stand-in components: real processes, ports, TLS and signals."""

from __future__ import annotations

import gc
import json
import os
import resource
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import _supervisor
from pytest_kina.errors import NotReadyError, ProvisionError
from pytest_kina.progress import Progress
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider, assets, health, processes
from pytest_kina.providers.embedded.components import PROFILES
from pytest_kina.providers.embedded.health import Health
from pytest_kina.providers.embedded.readiness import Ladder
from pytest_kina.retries import drain
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingRecorder
from pytest_kina.waiting import Deadline, Probe, wait_until

ETCD, API, KCM, SCHEDULER, KWOK = PROFILES["workloads"]
SPECS = {"api": ClusterSpec(profile="api", simulated_nodes=0), "workloads": ClusterSpec(simulated_nodes=2)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A cluster's place, and the proof that a failed or deleted cluster has left no process."""
    directory = tmp_path / f"kina-{secrets.token_hex(3)}-0-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    (tmp_path / "0.lock").touch()
    tidy = ("/bin/echo", '{"wake_after": null, "watch": [], "stop": false}')
    here = Place(name=directory.name, directory=directory, slot_lock=tmp_path / "0.lock", tidy=tidy)
    yield here
    left = [pid for pid, name in processes.marked().items() if name == here.name]
    EmbeddedProvider().delete(here)
    assert not left, "the test left processes"


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes stand-ins for all components the binaries that are found; keywords say how they misbehave."""

    def make(**behaviour: Any) -> None:
        directory = tmp_path / "bin"
        directory.mkdir(exist_ok=True)
        (directory / "behaviour.json").write_text(json.dumps(behaviour))
        source = Path(__file__).with_name("embedded_stub.py").read_text()
        for name in PROFILES["workloads"]:
            (directory / name).write_text(f"#!{sys.executable} -IS\n{source}")
            (directory / name).chmod(0o700)

        def obtain(_: assets.Source, spec: ClusterSpec, progress: Progress) -> assets.Programs:
            paths = {name: directory / name for name in PROFILES[spec.profile]}
            return assets.Programs(paths, {"kubernetes": "v1.36.3"}, {})

        monkeypatch.setattr(assets.Source, "obtain", obtain)

    return make


def create(place: Place, profile: str, timeout: float = 30) -> TimingRecorder:
    """Create the cluster; returns what was recorded."""
    recorder = TimingRecorder(run="r", worker="main")
    EmbeddedProvider().create(SPECS[profile], place, recorder.bind(cluster=place.name), timeout)
    return recorder


def components(place: Place) -> dict[str, int]:
    """The pids of the cluster's components, by name."""
    mine = [pid for pid, name in processes.marked().items() if name == place.name]
    return {name: pid for pid in mine if (name := program(pid)) in PROFILES["workloads"]}


def program(pid: int) -> str | None:
    """The stand-in that a process runs (its interpreter comes first in the command line); None for all others."""
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return None
    return next((Path(part).name for part in parts if part and Path(part).name in PROFILES["workloads"]), None)


# ---- it works


@pytest.mark.parametrize("profile", ["api", "workloads"])
def test_a_cluster_of_stand_ins_gets_ready(place: Place, stubs: Callable[..., None], profile: str) -> None:
    """The whole ladder is climbed, each component runs once, and the three phases are recorded once each."""
    stubs()
    recorder = create(place, profile)
    assert components(place).keys() == set(PROFILES[profile])
    assert [event.phase for event in recorder.drain()] == [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY]
    assert EmbeddedProvider().check(place) is None
    EmbeddedProvider().delete(place)
    assert components(place) == {}
    assert EmbeddedProvider().check(place) == "its supervisor is not running"


# ---- a component is killed while a rung is waited for

RUNGS: dict[str, tuple[str, ...]] = {
    "the API server answers TLS": (ETCD, API),
    "/readyz is ok": (ETCD, API, KCM, KWOK),
    "the namespace default exists": (ETCD, API, KCM, KWOK),
    "the scheduler may read pods": (ETCD, API, KCM, KWOK),
    "namespaces get their service account and the cluster's root certificate": (ETCD, API, KCM, SCHEDULER, KWOK),
    "all nodes are ready": (ETCD, API, KCM, SCHEDULER, KWOK),
    "a pod runs": (ETCD, API, KCM, SCHEDULER, KWOK),
    "an object can be written": (ETCD, API, KCM, SCHEDULER, KWOK),
    "the administrator can list namespaces": (ETCD, API, KCM, SCHEDULER, KWOK),
}


@pytest.mark.parametrize(("rung", "victim"), [(rung, name) for rung, names in RUNGS.items() for name in names])
def test_a_component_killed_at_a_rung_is_named(
    place: Place, stubs: Callable[..., None], monkeypatch: pytest.MonkeyPatch, rung: str, victim: str
) -> None:
    """Whoever dies at whichever rung: the error names rung, component and signal, shows its log, and nothing is left."""
    stubs()
    check = Ladder.check_components

    def kill_first(ladder: Ladder, current: str) -> None:
        if current == rung and not ladder._link.exits():
            os.kill(components(place)[victim], signal.SIGKILL)
            assert wait_until(ladder._link.exits, Deadline(10), interval=0.005)
        check(ladder, current)

    monkeypatch.setattr(Ladder, "check_components", kill_first)
    with pytest.raises(NotReadyError) as caught:
        create(place, "workloads")
    error = caught.value
    assert (error.details["rung"], error.details["component"]) == (rung, victim)
    assert error.details["cluster"] == place.name
    assert f"{rung}: {victim} was killed by signal 9" in str(error)
    assert "nothing that this start made is left running" in str(error)
    assert components(place) == {}


@pytest.mark.parametrize("name", [ETCD, API, KCM, SCHEDULER, KWOK])
def test_a_binary_that_crashes_at_start_shows_why(place: Place, stubs: Callable[..., None], name: str) -> None:
    """The exit code and the last lines of the log are in the error, long before the deadline."""
    # The last rung is out of reach: stand-ins get ready without each other, and some crash later than that.
    stubs(exit={name: 17}, answers={"/api/v1/namespaces": 503})
    with pytest.raises(NotReadyError) as caught:
        create(place, "workloads", timeout=60)
    assert f"{name} exited with code 17" in str(caught.value)
    assert f"The last lines of {name}.log:\n{name} begins\n{name}: fatal: this build refuses to run" in str(
        caught.value
    )
    assert "Next step: read the log above; " in str(caught.value)


# ---- a rung is not reached


@pytest.mark.parametrize(
    ("behaviour", "rung", "component", "said"),
    [
        ({"silent": True}, "the API server answers TLS", API, "nothing answered TLS on 127.0.0.1:"),
        (
            {"silent": True, "answers": {"/health": 503}},
            "the API server answers TLS",
            API,
            "etcd is not healthy: 503",
        ),
        (
            {"answers": {"/api/v1/namespaces/kube-public/pods/kina-canary": 404}},
            "a pod runs",
            SCHEDULER,
            "not reached within 4 s",
        ),
        (
            {"answers": {"/api/v1/namespaces/default/configmaps/kina-canary": 500}},
            "an object can be written",
            API,
            "not reached within 4 s",
        ),
        ({"answers": {"/readyz": 500}}, "/readyz is ok", API, "/readyz says:\n[-]poststarthook/rbac failed"),
        ({"answers": {"/api/v1/namespaces/default": 404}}, "the namespace default exists", API, "not reached within"),
        (
            {"answers": {"/api/v1/namespaces/default/serviceaccounts/default": 404}},
            "namespaces get their service account and the cluster's root certificate",
            KCM,
            "not reached within 4 s",
        ),
        ({"answers": {"/api/v1/nodes": 503}}, "all nodes are ready", KWOK, "GET /api/v1/nodes was answered with 503"),
        ({"answers": {"/api/v1/namespaces": 403}}, "the administrator can list namespaces", API, "not reached within"),
    ],
)
def test_a_rung_that_is_not_reached_in_time_explains_itself(
    place: Place, stubs: Callable[..., None], behaviour: dict[str, Any], rung: str, component: str, said: str
) -> None:
    """At the deadline the error names the rung and who should have reached it, with what is known and the log."""
    stubs(**behaviour)
    with pytest.raises(NotReadyError) as caught:
        create(place, "workloads", timeout=4)
    assert (caught.value.details["rung"], caught.value.details["component"]) == (rung, component)
    assert said in str(caught.value)
    assert f"The last lines of {component}.log:\n{component} begins" in str(caught.value)


def test_a_run_with_many_open_files_can_create_clusters(place: Place, stubs: Callable[..., None]) -> None:
    """Descriptors above 1023, which select(2) cannot wait for, are no obstacle."""
    stubs()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        create(place, "api")
        EmbeddedProvider().adopt(place)
        EmbeddedProvider().delete(place)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_failed_phase_is_recorded_as_failed(place: Place, stubs: Callable[..., None]) -> None:
    """The phase in which the start failed is recorded with its error, the phases after it are not."""
    stubs(answers={"/readyz": 500})
    recorder = TimingRecorder(run="r", worker="main")
    with pytest.raises(NotReadyError):
        EmbeddedProvider().create(SPECS["api"], place, recorder.bind(), 2)
    recorded = [(event.phase, event.ok, event.error) for event in recorder.drain()]
    assert recorded == [(Phase.CREATE, True, ""), (Phase.STARTUP, False, "NotReadyError")]


def test_a_missing_binary_is_named(place: Place, stubs: Callable[..., None], tmp_path: Path) -> None:
    """A binary that vanished between being found and being started is an error of ours, not a traceback."""
    stubs()
    (tmp_path / "bin" / API).unlink()
    with pytest.raises(NotReadyError, match=r"kube-apiserver could not be executed: .*No such file"):
        create(place, "api")


def test_a_refused_node_is_shown(place: Place, stubs: Callable[..., None]) -> None:
    """When the API server refuses a simulated node, its answer is in the error."""
    stubs(answers={"POST": 422})
    with pytest.raises(ProvisionError, match=r"node-0 was refused with 422: .*node-0"):
        create(place, "workloads")


def test_a_connection_that_breaks_while_nodes_are_created_names_the_server(
    place: Place, stubs: Callable[..., None]
) -> None:
    """Not the disk is to blame when the API server hangs up on a simulated node: the rung and its log are named."""
    stubs(hangs_up=True)
    with pytest.raises(NotReadyError) as caught:
        create(place, "workloads")
    assert (caught.value.details["rung"], caught.value.details["component"]) == ("the nodes are created", API)
    assert f"The last lines of {API}.log:\n{API} begins" in str(caught.value)


def test_a_directory_that_cannot_be_written_is_named(place: Place, stubs: Callable[..., None]) -> None:
    """A full or foreign disk ends in an error with the place and the next step, and nothing is started."""
    stubs()
    blocked = place.directory / "data"
    blocked.write_text("a file where a directory has to be")
    with pytest.raises(ProvisionError) as caught:
        create(place, "api")
    assert str(place.directory) in str(caught.value)
    assert "disk has room" in str(caught.value)


def test_a_supervisor_that_cannot_start_is_an_error(
    place: Place, stubs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the supervisor said before it ended is in the error."""
    stubs()
    monkeypatch.setattr(_supervisor, "__file__", str(place.directory / "no-such-script.py"))
    with pytest.raises(NotReadyError, match=r"The supervisor said:\n.*no-such-script\.py"):
        create(place, "api")


def test_an_interrupted_start_leaves_nothing(
    place: Place, stubs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a start ends what was started, and stays a KeyboardInterrupt."""
    stubs()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ladder, "handshake", interrupt)
    with pytest.raises(KeyboardInterrupt):
        create(place, "api")
    assert components(place) == {}


# ---- after the start


def test_a_dead_component_fails_the_check_with_its_name(place: Place, stubs: Callable[..., None]) -> None:
    """The death of a component of an adopted cluster is the reason that ``check`` gives."""
    stubs()
    create(place, "workloads")
    EmbeddedProvider().adopt(place)
    os.kill(components(place)[SCHEDULER], signal.SIGKILL)
    assert wait_until(lambda: place.name not in processes.marked().values(), Deadline(10), interval=0.01)
    assert EmbeddedProvider().check(place) == "kube-scheduler was killed by signal 9"


def test_an_unready_server_fails_the_check(place: Place, stubs: Callable[..., None], tmp_path: Path) -> None:
    """An API server that hangs is found out within the check's own time-out."""
    stubs()
    create(place, "api")
    os.kill(components(place)[API], signal.SIGSTOP)
    problem = EmbeddedProvider().check(place)
    assert problem is not None
    assert problem.startswith("its API server cannot be asked: ")
    EmbeddedProvider().delete(place)


def test_adopting_twice_and_deleting_twice_is_fine(place: Place, stubs: Callable[..., None]) -> None:
    """Both are asked for again by whoever cannot know that they happened."""
    stubs()
    create(place, "api")
    EmbeddedProvider().adopt(place)
    EmbeddedProvider().adopt(place)
    assert EmbeddedProvider().check(place) is None
    EmbeddedProvider().delete(place)
    EmbeddedProvider().delete(place)


def test_deleting_what_has_lost_its_directory(place: Place, stubs: Callable[..., None]) -> None:
    """Without its directory the cluster is still found, by the mark of its processes."""
    stubs()
    create(place, "api")
    identity = place.directory / "supervisor.json"
    identity.unlink()
    EmbeddedProvider().delete(place)
    assert components(place) == {}


def test_adopting_a_cluster_whose_supervisor_has_died_fails(place: Place, stubs: Callable[..., None]) -> None:
    """What cannot be adopted must not be handed out."""
    stubs()
    create(place, "api")
    supervisor = processes.supervisor(place.directory / "supervisor.json", place.name)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert wait_until(lambda: place.name not in processes.marked().values(), Deadline(10), interval=0.01)
    with pytest.raises(ProvisionError, match="could not be adopted"):
        EmbeddedProvider().adopt(place)


def test_reset_uses_the_binaries_of_the_start(
    place: Place, stubs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset asks nobody for binaries: it starts those that the cluster was made of, with new keys and ports."""
    stubs()
    create(place, "workloads")
    EmbeddedProvider().adopt(place)
    before = (place.directory / "kubeconfig").read_text()
    pids = components(place)

    def never(*_: object) -> None:
        raise AssertionError("a reset must not look for binaries")

    monkeypatch.setattr(assets.Source, "obtain", never)
    recorder = TimingRecorder(run="r", worker="main")
    EmbeddedProvider().reset(SPECS["workloads"], place, recorder.bind(), 30)
    assert [event.phase for event in recorder.drain()] == [Phase.RESET]
    assert not set(pids.values()) & set(components(place).values())
    assert (place.directory / "kubeconfig").read_text() != before
    assert EmbeddedProvider().check(place) is None
    EmbeddedProvider().delete(place)


def test_reset_without_a_record_of_its_binaries_is_refused(place: Place) -> None:
    """A directory that does not say which binaries it ran can only be deleted, and the error says so."""
    with pytest.raises(ProvisionError, match=r"assets\.json does not say which binaries"):
        EmbeddedProvider().reset(SPECS["api"], place, TimingRecorder(run="r", worker="m").bind(), 5)


def test_leftovers_are_directories_and_marked_processes_of_the_pool(
    place: Place, stubs: Callable[..., None], tmp_path: Path
) -> None:
    """A cluster is found by its directory or by its processes; those of another pool are not ours."""
    stubs()
    create(place, "api")
    pool, clusters = place.name.split("-")[1], tmp_path / "root" / "clusters"
    dead = f"kina-{pool}-1-00000000"
    (clusters / dead).mkdir(parents=True)
    (clusters.parent / "pool.json").write_text(json.dumps({"schema": 1, "id": pool}))
    assert EmbeddedProvider().leftovers(clusters) == [place.name, dead]
    (clusters.parent / "pool.json").write_text(json.dumps({"schema": 1, "id": "another"}))
    assert EmbeddedProvider().leftovers(clusters) == [dead]
    EmbeddedProvider().delete(place)


def test_logs_are_the_ends_of_the_components_logs(place: Place, stubs: Callable[..., None]) -> None:
    """Each component's last lines, and nothing for a component that has written none."""
    stubs()
    create(place, "api")
    logs = EmbeddedProvider().logs(place, 1)
    assert logs == {ETCD: "etcd begins", API: "kube-apiserver begins"}
    EmbeddedProvider().delete(place)


IN_USE = "listen tcp 127.0.0.1:2379: bind: address already in use"


def test_a_port_that_was_taken_is_tried_once_more(place: Place, stubs: Callable[..., None]) -> None:
    """The second start succeeds, on other ports; the first one is timed as failed, and it is said."""
    stubs(exit={ETCD: 1}, says=IN_USE, recovers=True)
    drain()
    events = create(place, "workloads").drain()
    assert len([event for event in events if event.phase is Phase.CREATE]) == 2
    assert [event.ok for event in events].count(False) == 1
    assert set(components(place)) == set(PROFILES["workloads"])
    (said,) = drain()
    assert said.endswith("was started a second time, because the first start failed: address already in use")
    EmbeddedProvider().delete(place)


def test_a_port_that_stays_taken_is_an_error(place: Place, stubs: Callable[..., None]) -> None:
    """After the second start, with nothing left running."""
    stubs(exit={ETCD: 1}, says=IN_USE)
    drain()
    with pytest.raises(NotReadyError, match="address already in use"):
        create(place, "api")
    assert (components(place), len(drain())) == ({}, 1)


def test_a_reset_is_tried_once_more_too(place: Place, stubs: Callable[..., None]) -> None:
    """Within the same attempt and one timed phase."""
    stubs()
    create(place, "api")
    stubs(exit={API: 1}, says=IN_USE, recovers=True)
    drain()
    recorder = TimingRecorder(run="r", worker="main")
    EmbeddedProvider().reset(SPECS["api"], place, recorder.bind(cluster=place.name), 30)
    assert [(event.phase, event.ok) for event in recorder.drain()] == [(Phase.RESET, True)]
    assert len(drain()) == 1
    EmbeddedProvider().delete(place)


def test_everything_in_the_place_is_private(place: Place, stubs: Callable[..., None]) -> None:
    """Files are 0600 and folders 0700, whatever the umask of the test run is."""
    stubs()
    before = os.umask(0)
    try:
        create(place, "workloads")
    finally:
        os.umask(before)
    for path in place.directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o600 if path.is_file() else 0o700), path  # directories and etcd's sockets
    EmbeddedProvider().delete(place)


# ---- the health check keeps its connection


@pytest.fixture
def api(place: Place, stubs: Callable[..., None]) -> Iterator[Place]:
    """A running cluster of stand-ins, without controllers."""
    stubs()
    create(place, "api")
    yield place
    EmbeddedProvider().delete(place)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Probe]:
    """The connections that health checks have opened so far."""
    opened: list[Probe] = []
    connect = health._connect

    def noted(pki: Path, port: int) -> Probe:
        opened.append(connect(pki, port))
        return opened[-1]

    monkeypatch.setattr(health, "_connect", noted)
    return opened


def the_socket(probe: Probe) -> socket.socket:
    """What a probe talks through."""
    assert probe._connection is not None
    assert probe._connection.sock is not None
    return probe._connection.sock


def test_health_is_asked_over_one_connection(api: Place, connections: list[Probe]) -> None:
    """Certificates are shown and verified once, however often a cluster is leased."""
    checks = Health()
    assert [checks.problem(api) for _ in range(5)] == [None] * 5
    assert len(connections) == 1


def test_a_kept_connection_that_has_ended_is_no_illness(api: Place, connections: list[Probe]) -> None:
    """Servers end connections that are idle for long; the check then asks over a new one."""
    checks = Health()
    assert checks.problem(api) is None
    the_socket(connections[0]).shutdown(socket.SHUT_RDWR)
    assert checks.problem(api) is None
    assert len(connections) == 2


def test_a_hung_server_is_ill_over_a_kept_connection_too(api: Place, connections: list[Probe]) -> None:
    """It is asked once, not twice, and is well again when it goes on."""
    checks = Health()
    assert checks.problem(api) is None
    the_socket(connections[0]).settimeout(0.2)
    os.kill(components(api)[API], signal.SIGSTOP)
    assert "timed out" in (checks.problem(api) or "")
    assert len(connections) == 1
    os.kill(components(api)[API], signal.SIGCONT)
    assert checks.problem(api) is None


def test_a_reset_cluster_is_asked_over_a_new_connection(api: Place, connections: list[Probe]) -> None:
    """The provider closes what it kept of the cluster before: its certificates are worth nothing any more."""
    provider = EmbeddedProvider()
    assert provider.check(api) is None
    provider.reset(SPECS["api"], api, TimingRecorder(run="r", worker="main").bind(), 30)
    assert connections[0]._connection is None
    assert provider.check(api) is None
    provider.delete(api)
    assert connections[1]._connection is None


@pytest.mark.parametrize("cyclic", [False, True])
def test_kept_connections_end_with_who_keeps_them(api: Place, connections: list[Probe], *, cyclic: bool) -> None:
    """Also when it goes as part of a cycle: a suite for which warnings are errors must not hear of unclosed sockets."""
    checks = Health()
    assert checks.problem(api) is None
    if cyclic:
        checks.me = checks  # type: ignore[attr-defined]
    del checks
    gc.collect()
    assert connections[0]._connection is None


def test_a_fork_leaves_its_parents_connection_alone(api: Place, connections: list[Probe]) -> None:
    """It opens one of its own: two processes in one TLS connection would garble it for both."""
    checks = Health()
    assert checks.problem(api) is None
    if (child := os.fork()) == 0:
        well = checks.problem(api) is None
        os._exit(0 if well and len(connections) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert checks.problem(api) is None
    assert len(connections) == 1
