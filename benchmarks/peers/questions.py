"""The figures: each function measures one thing once, and returns seconds (or bytes) by name."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.subjects import Kwokctl, Plugin, Subject, prove
from pytest_kina.cluster import Cluster
from pytest_kina.load import Load, LoadPlan
from pytest_kina.process import run_command
from pytest_kina.progress import silent
from pytest_kina.providers.embedded.link import Link
from pytest_kina.spec import ClusterSpec, Isolation

API = ClusterSpec(profile="api", simulated_nodes=0)
WORKLOADS = ClusterSpec(simulated_nodes=1)
LARGE = ClusterSpec(simulated_nodes=100)
_SETTLE = 3.0

Figures = dict[str, float]


def life(subject: Subject, *, memory: bool = False) -> Figures:
    """Start, prove, look at the memory, stop."""
    found = subject.start()
    if memory:
        time.sleep(_SETTLE)
        found["bytes"] = subject.memory()
    found["stop"] = subject.stop()
    return found


def reset(subject: Plugin) -> Figures:
    """A used exclusive cluster is leased again, which resets it: seconds, as for a start."""
    subject.lease()
    prove(subject.cluster, time.perf_counter())
    subject.give_back()
    found = {f"reset {name}": value for name, value in subject.start().items()}
    subject.stop()
    return found


def spare(subject: Plugin) -> Figures:
    """Seconds until a cluster that was made ahead is leased."""
    subject.make_spare()
    seconds = subject.lease()
    assert subject.came_about == "spare"
    subject.stop()
    return {"leased": seconds}


def warm_leases(home: Path, count: int = 200) -> list[float]:
    """Seconds of ``count`` leases of one warm shared cluster, one after the other, in one process."""
    subject = Plugin(home, API, how="template", isolation=Isolation.NAMESPACE)
    subject.lease()
    subject.give_back()
    found = []
    for _ in range(count):
        found.append(subject.lease())
        subject.give_back()
    subject.stop()
    return found


_LEASER = """
import sys
from pathlib import Path
from benchmarks.peers.questions import API
from benchmarks.peers.subjects import Plugin
from pytest_kina.spec import Isolation
subject = Plugin(Path(sys.argv[1]), API, how="template", isolation=Isolation.NAMESPACE)
subject.join(sys.argv[2])
subject.lease(); subject.give_back()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    print(subject.lease(), flush=True)
    subject.give_back()
"""


def crowded_leases(home: Path, processes: int = 16, count: int = 20) -> list[float]:
    """Seconds of leases of one warm shared cluster by many processes of one run at once."""
    first = Plugin(home, API, how="template", isolation=Isolation.NAMESPACE)
    first.lease()
    argv = [sys.executable, "-c", _LEASER, str(home), first.run_id, str(count)]
    others = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(processes) as pool:
        outputs = pool.map(lambda other: other.communicate("go\n", timeout=300)[0], others)
        found = [float(line) for output in outputs for line in output.split()]
    first.stop()
    return found


def slots(home: Path, number: int, count: int = 100) -> list[float]:
    """Seconds of warm leases while so many slots hold clusters (of the tests' provider: files, not processes)."""
    fake = {"provider": "pytest_kina.testing:FakeProvider"}
    specs = [ClusterSpec(simulated_nodes=nodes, **fake) for nodes in range(1, number + 1)]
    subjects = [Plugin(home, spec, how="template", isolation=Isolation.NAMESPACE) for spec in specs]
    for subject in subjects:
        subject.lease()
        subject.give_back()
    found = []
    for _ in range(count):
        found.append(subjects[-1].lease())
        subjects[-1].give_back()
    for subject in subjects:
        subject.close()
    return found


def namespaces(cluster: Cluster, count: int = 60) -> list[float]:
    """Seconds that a namespace adds to a test: made, ready for pods, deletion begun."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        cluster.create_namespace("added").delete()
        found.append(time.perf_counter() - began)
    return found


def many_pods(subject: Plugin | Kwokctl, pods: int = 1000) -> Figures:
    """Seconds from one Deployment of so many replicas until all are Ready."""
    subject.start()
    cluster = subject.cluster
    template = {
        "metadata": {"labels": {"app": "many"}},
        "spec": {"containers": [{"name": "c", "image": "x.invalid/i:1"}]},
    }
    spec = {"replicas": pods, "selector": {"matchLabels": {"app": "many"}}, "template": template}
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec}
    began = time.perf_counter()
    cluster.apply(document)
    cluster.wait("deployment/many", namespace="default", timeout=300)
    ready = time.perf_counter() - began
    size = subject.memory()
    subject.stop()
    return {f"{pods} pods": ready, f"{pods} pods, bytes": size}


def growing_load(home: Path, pods: int) -> Figures:
    """Seconds that so many bare pods take from the first request until all are Ready."""
    subject = Plugin(home, LARGE, how="template")
    subject.lease()
    result = Load(subject.cluster, LoadPlan(pods=pods, namespaces=10), per_second=5000).run(silent)
    assert result.failed == 0
    assert result.ready_seconds is not None
    subject.stop()
    return {"ready": result.ready_seconds}


def at_once(homes: list[Path], spec: ClusterSpec) -> Figures:
    """Seconds until as many clusters as there are homes, asked for at the same moment, are all usable."""
    subjects = [Plugin(home, spec, how="template") for home in homes]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(subjects)) as pool:
        list(pool.map(lambda subject: subject.lease(), subjects))
    seconds = time.perf_counter() - began
    with ThreadPoolExecutor(len(subjects)) as pool:
        list(pool.map(lambda subject: subject.stop(), subjects))
    return {"all": seconds}


@contextmanager
def garbage(percent: int) -> Iterator[None]:
    """The API servers of clusters that are started meanwhile run with this ``GOGC``, for good."""
    usual = Link.spawn

    def spawn(self: Link, component: str, argv: Any, env: Any, log: Any, deadline: Any, **rest: Any) -> None:
        changed = {"GOGC": str(percent), "KINA_SETTLE_AFTER": ""} if component == "kube-apiserver" else {}
        usual(self, component, argv, {**env, **changed}, log, deadline, **rest)

    Link.spawn = spawn  # type: ignore[method-assign]
    try:
        yield
    finally:
        Link.spawn = usual  # type: ignore[method-assign]


def suite(project: Path, home: Path, *, peer: dict[str, str]) -> Figures:
    """Wall time of 40 tests with 4 xdist workers, and the most memory of their control planes meanwhile.

    ``peer`` is the environment that makes each worker use an envtest of its own instead.
    """
    argv = [sys.executable, "-m", "pytest", "-q", "-n4", "-p", "no:cacheprovider", "-p", "no:randomly"]
    env = {"KINA_HOME": str(home), "CI": "true", "KINA_GATE": "off", **peer}
    sampler = [sys.executable, "-c", _SAMPLER, str(project.parent)]
    with subprocess.Popen(sampler, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as memory:
        began = time.perf_counter()
        run_command(argv, timeout=600, env={**os.environ, **env}, cwd=project)
        wall = time.perf_counter() - began
        most = float(memory.communicate("end\n")[0])
    return {"wall": wall, "bytes": most}


_SAMPLER = """
import select, sys
from contextlib import suppress
from pathlib import Path
from benchmarks.lifecycle import pss
most = 0
while not select.select([sys.stdin], [], [], 0.2)[0]:
    total = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if not process.name.isdecimal() or (process / "comm").read_text().strip() not in ("etcd", "kube-apiserver"):
                continue
            if sys.argv[1].encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                total += pss(process)
    most = max(most, total)
print(most)
"""


def percentile(values: list[float], percent: int) -> float:
    """The value below which so many percent of the values are."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
