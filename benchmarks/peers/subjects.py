"""What is measured: clusters of the plugin, envtest and kwokctl, started, asked the same questions, and stopped."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.lifecycle import pss
from pytest_kina.cluster import Cluster
from pytest_kina.errors import ApiError, CommandError
from pytest_kina.marks import ClusterRequest
from pytest_kina.pool.records import State
from pytest_kina.process import environment, run_command
from pytest_kina.providers.embedded import readiness
from pytest_kina.run import Loan, Run, Ticket
from pytest_kina.settings import for_command
from pytest_kina.spec import ClusterDescription, ClusterSpec, Isolation
from pytest_kina.waiting import Deadline

_TIMEOUT = 120.0

Seconds = dict[str, float]


def programs() -> dict[str, Path]:
    """The control plane's binaries by name, from ``KINA_ASSETS``: all subjects run the same files."""
    places = [Path(place) for place in os.environ.get("KINA_ASSETS", "").split(os.pathsep) if place]
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
    found = {name: place / name for name in names for place in reversed(places) if (place / name).exists()}
    if missing := [name for name in names if name not in found]:
        raise SystemExit(f"set KINA_ASSETS to the directories of {', '.join(names)}; {', '.join(missing)} are missing")
    return found


class Subject(ABC):
    """Something that starts clusters, one at a time."""

    @abstractmethod
    def start(self) -> Seconds:
        """Start one; seconds from the call until each thing was proven (``usable``, ``pod``, ``namespace``)."""

    @abstractmethod
    def stop(self) -> float:
        """Stop it; seconds until it has ended."""

    @abstractmethod
    def memory(self) -> int:
        """Proportional set size of all its processes, in bytes."""

    @abstractmethod
    def close(self) -> None:
        """Remove everything."""


class Plugin(Subject):
    """A cluster of the plugin, leased like in a test; ``how`` is ``fresh`` or ``template``."""

    def __init__(self, home: Path, spec: ClusterSpec, *, how: str, isolation: Isolation = Isolation.FRESH) -> None:
        self._home = home
        self._spec = spec
        self._how = how
        self._isolation = isolation
        self._run: Run | None = None
        self._loan: Loan | None = None
        self.came_about = ""

    @property
    def cluster(self) -> Cluster:
        """The cluster that is leased."""
        assert self._loan is not None
        return self._loan.main

    def lease(self) -> float:
        """Lease a cluster; seconds. What a run does beforehand (binaries, tidying) is not counted."""
        run, wanted = self._prepared(), self._request()
        began = time.perf_counter()
        self._loan = run.lease(wanted, note="benchmark")
        seconds = time.perf_counter() - began
        self.came_about = self._loan.leases[0].start
        return seconds

    def make_spare(self) -> None:
        """Let the run make a cluster ahead, and return when it stands ready."""
        run, deadline = self._prepared(), Deadline(_TIMEOUT)
        run.prewarm([self._request()])
        while not any(slot.state == State.READY for slot in run.pool().status()):
            assert not deadline.expired, "no spare was made"
            time.sleep(0.05)

    def _prepared(self) -> Run:
        if self._run is None:
            settings = for_command({"home": str(self._home), "ttl": "0", "pool_size": "64"}, self._home.parent)
            self._run = Run(settings, worker="main")
            self._run.prepare([self._spec])
            if self._how == "fresh":
                shutil.rmtree(self._home / "templates", ignore_errors=True)
        return self._run

    def _request(self) -> ClusterRequest:
        holder = "" if self._isolation is Isolation.NAMESPACE else secrets.token_hex(4)
        return ClusterRequest(clusters=(("", self._spec),), isolation=self._isolation, holder=holder)

    @property
    def run_id(self) -> str:
        """The run that its process belongs to, for :meth:`join` in others."""
        assert self._run is not None
        return self._run.ticket.run

    def join(self, run: str) -> None:
        """Take part in another process's run, as an xdist worker does."""
        settings = for_command({"home": str(self._home), "ttl": "0", "pool_size": "64"}, self._home.parent)
        ticket = Ticket(run=run, root=str(self._home), pool_size=64)
        self._run = Run(settings, worker=f"gw{os.getpid()}", ticket=ticket)

    def give_back(self) -> float:
        """Give the cluster back; seconds."""
        assert self._loan is not None
        began = time.perf_counter()
        self._loan.give_back()
        self._loan = None
        return time.perf_counter() - began

    def start(self) -> Seconds:
        """See :class:`Subject`; ``first pod`` is when the start saw its own pod run, before the lease was there."""
        with _steps() as reached:
            leased = self.lease()
        found = {"leased": leased}
        began = time.perf_counter() - leased
        if _POD_RUNS in reached:
            found["first pod"] = reached[_POD_RUNS] - began
        return found | prove(self.cluster, began)

    def stop(self) -> float:
        """Delete it, as the end of a run that keeps nothing does; seconds."""
        assert self._run is not None
        if self._loan is not None:
            self.give_back()
        began = time.perf_counter()
        self._run.pool().retire()
        seconds = time.perf_counter() - began
        self._run.close()
        self._run = None
        return seconds

    def memory(self) -> int:
        """See :class:`Subject`."""
        return memory_of(f"KINA_CLUSTER={self.cluster.name}\0".encode())

    def close(self) -> None:
        """See :class:`Subject`."""
        if self._run is not None:
            self._run.retire()
            self._run.close()


class Envtest(Subject):
    """controller-runtime's envtest in a Go program that stays, as a Go test binary would."""

    def __init__(self, program: Path) -> None:
        assets = Path(os.environ["KINA_PEERS"]) / "assets"  # envtest wants all binaries in one directory
        assets.mkdir(parents=True, exist_ok=True)
        for name in ("etcd", "kube-apiserver", "kubectl"):
            with suppress(FileExistsError):
                (assets / name).symlink_to(programs()[name])
        env = environment({"KUBEBUILDER_ASSETS": str(assets)})
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        )
        self.kubeconfig = ""

    def start(self) -> Seconds:
        """See :class:`Subject`; ``leased`` is until ``Start`` returned."""
        answer = self._ask("start")
        self.kubeconfig = answer["kubeconfig"]
        return {"leased": answer["started"], "usable": answer["usable"]}

    def stop(self) -> float:
        """See :class:`Subject`."""
        return float(self._ask("stop")["stopped"])

    def memory(self) -> int:
        """See :class:`Subject`."""
        return memory_below(self._process.pid)

    def close(self) -> None:
        """See :class:`Subject`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_TIMEOUT)

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Kwokctl(Subject):
    """``kwokctl create cluster --runtime binary``, with ``nodes`` nodes and further ``flags``."""

    def __init__(self, program: Path, work: Path, *, nodes: int, flags: tuple[str, ...] = ()) -> None:
        self._flags = flags
        self._program = program
        self._work = work
        self._nodes = nodes
        work.mkdir(parents=True, exist_ok=True)

    @property
    def cluster(self) -> Cluster:
        """A handle of ours for it."""
        spec = ClusterSpec(provider="kwokctl")
        about = ClusterDescription(name="kwokctl", provider="kwokctl", fingerprint="", spec=spec)
        return Cluster(about, self._work, self._work / "kubeconfig")

    def start(self) -> Seconds:
        """See :class:`Subject`. With ``--wait``: else its kwok meets an unready API, and backs off for seconds."""
        found = programs()
        flags = [f"--{name}-binary={found[name]}" for name in found if name not in ("kubectl", "kwok")]
        flags += self._flags
        flags.append(f"--kwok-controller-binary={found['kwok']}")
        began = time.perf_counter()
        self._command(
            "create", "cluster", "--runtime=binary", "--wait=60s", f"--kubeconfig={self._work / 'kubeconfig'}", *flags
        )
        created = time.perf_counter() - began
        cluster = self.cluster
        _retry(lambda: self._command("scale", "node", f"--replicas={self._nodes}"))
        return {"leased": created} | prove(cluster, began)

    def stop(self) -> float:
        """See :class:`Subject`."""
        began = time.perf_counter()
        self._command("delete", "cluster")
        return time.perf_counter() - began

    def memory(self) -> int:
        """See :class:`Subject`."""
        return memory_of(str(self._work).encode(), where="cmdline")

    def close(self) -> None:
        """See :class:`Subject`."""
        if (self._work / "kwok" / "clusters" / "peer").exists():
            self.stop()

    def _command(self, *arguments: str) -> None:
        version = programs()["kube-apiserver"]
        number = run_command([version, "--version"], timeout=10).stdout.split()[-1]
        home = {"KWOK_WORKDIR": str(self._work / "kwok"), "KWOK_KUBE_VERSION": number, "HOME": str(self._work)}
        path = f"{programs()['kubectl'].parent}{os.pathsep}{os.environ['PATH']}"
        run_command(
            [self._program, *arguments, "--name=peer"], timeout=_TIMEOUT, env=environment({**home, "PATH": path})
        )


_POD_RUNS = "a pod runs"


@contextmanager
def _steps() -> Iterator[dict[str, float]]:
    """When a start that happens meanwhile reaches each of its steps, on the clock of ``perf_counter``."""
    reached: dict[str, float] = {}

    class Steps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _, step, _ = record.args  # type: ignore[misc]
            reached[str(step)] = time.perf_counter()

    logger, handler = logging.getLogger(readiness.__name__), Steps()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield reached
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def prove(cluster: Cluster, began: float) -> Seconds:
    """Seconds since ``began`` until a namespace could be made, a bare pod ran, and a new namespace was ready for pods.

    The pod is in ``default``; the namespace has its ServiceAccount and the cluster's CA.
    """
    found: Seconds = {}
    made = _retry(
        lambda: cluster.connection.api.request("POST", "/api/v1/namespaces", _call(cluster), body=_namespace())
    )
    found["usable"] = time.perf_counter() - began
    if cluster.profile == "api" or not made:
        return found
    _retry(lambda: cluster.apply(_pod(), force=True))
    cluster.wait("pod/first", namespace="default", until=lambda pod: pod["status"]["phase"] == "Running", timeout=60)
    found["pod"] = time.perf_counter() - began
    cluster.create_namespace("proof")
    found["namespace"] = time.perf_counter() - began
    return found


def _retry(action: Any) -> Any:
    """What ``action`` returns, as soon as the server does not refuse it any more (no ServiceAccount, no role yet)."""
    deadline = time.perf_counter() + 60
    while True:
        try:
            return action()
        except (ApiError, CommandError):
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.005)


def _call(cluster: Cluster) -> Any:
    return cluster.connection.api.call("create", "namespaces")


def _namespace() -> Mapping[str, Any]:
    return {"metadata": {"generateName": "first-"}}


def _pod() -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "example.invalid/image:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "namespace": "default"}, "spec": spec}


def memory_of(mark: bytes, where: str = "environ") -> int:
    """Proportional set size in bytes of all processes with ``mark`` in their environment or command line."""
    total = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and mark in (process / where).read_bytes():
                total += pss(process)
    return total


def memory_below(pid: int) -> int:
    """Proportional set size in bytes of a process and all that it has started."""
    total = 0
    with suppress(OSError):
        total = pss(Path(f"/proc/{pid}"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory_below(int(child)) for child in (task / "children").read_text().split())
    return total
