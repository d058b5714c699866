"""How long an embedded cluster takes to start: fresh, from its template, and as a reset of a used one, in two grades.

The four take turns in each repetition, for both profiles, always with one cluster at a time; one repetition before
that fills the caches. *Fresh* is a start without a template in the root, and includes no time for making one (that is
the row ``template``). *Sweep* is the reset in place of a cluster that holds one more namespace with 18 objects, a CRD
with one object, and a role. Times are from the call to the proof that the cluster is ready, by phase, as the plugin
records them.

    KINA_ASSETS=/path/to/binaries python -m benchmarks.start --repetitions 10 --record
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.content import definitions, objects
from benchmarks.recording import machine_line, markdown_table, publish, repeated, spread
from pytest_kina.cluster import Cluster
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider, templates
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingEvent, TimingRecorder
from tests.support.clusters import described

SPECS = {
    "api": ClusterSpec(profile="api", simulated_nodes=0),
    "workloads": ClusterSpec(profile="workloads", simulated_nodes=1),
}
TIMEOUT = 300.0
KINDS = ("fresh", "template", "reset", "sweep")

Rows = dict[tuple[str, str], dict[str, list[float]]]


def main() -> int:
    """Measure, print, record."""
    chosen = repeated(__doc__, "per profile and kind", default=10)
    with tempfile.TemporaryDirectory(prefix="kina-start-") as directory:
        rows, versions = measure(Path(directory), chosen.repetitions)
    publish(
        "Start of an embedded cluster: fresh, from a template, reset",
        machine_line(**versions),
        report(rows, chosen.repetitions),
        record=chosen.record,
    )
    return 0


def measure(folder: Path, repetitions: int) -> tuple[Rows, dict[str, str]]:
    """Seconds per profile, kind and phase (``ready`` is their sum), and the versions that ran."""
    rows: Rows = defaultdict(lambda: defaultdict(list))
    provider, versions = EmbeddedProvider(folder), {}
    for number in range(repetitions + 1):
        for profile, spec in sorted(SPECS.items(), reverse=number % 2 == 0):
            identity = provider.prepare(spec, silent)
            versions |= {name: identity[name] for name in ("kubernetes", "etcd", "kwok") if name in identity}
            for template in templates.found(folder / "templates"):
                templates.remove(template.directory)
            for kind, seconds in cycle(provider, folder, spec):
                if number:
                    for phase, duration in seconds.items():
                        rows[profile, kind][phase].append(duration)
    return rows, versions


def cycle(provider: EmbeddedProvider, folder: Path, spec: ClusterSpec) -> list[tuple[str, dict[str, float]]]:
    """One fresh start, which leaves a template; one start from it; and one reset of that cluster."""
    first, first_events = started(provider, folder, spec)
    ended(provider, first)
    second, second_events = started(provider, folder, spec)
    try:
        recorder, began = TimingRecorder(run="benchmark", worker="main"), time.perf_counter()
        provider.reset(spec, second, recorder.bind(), TIMEOUT)
        reset = time.perf_counter() - began
        assert provider.check(second) is None, "the reset cluster is healthy"
    finally:
        ended(provider, second)
    assert {event.start for event in first_events} == {"fresh"}
    assert {event.start for event in second_events} == {"template"}
    starts = [("fresh", phases(first_events)), ("template", phases(second_events))]
    return [*starts, ("reset", {"ready": reset}), ("sweep", {"ready": swept(folder, spec)})]


def swept(folder: Path, spec: ClusterSpec) -> float:
    """Seconds of a reset in place."""
    provider, recorder = EmbeddedProvider(folder, reset="sweep"), TimingRecorder(run="benchmark", worker="main")
    with described(provider, folder, spec) as place:
        provider.create(spec, place, recorder.bind(), TIMEOUT)
        cluster = Cluster.open(place.directory)
        cluster.apply(list(litter()))
        kubeconfig = cluster.kubeconfig.read_bytes()
        began = time.perf_counter()
        provider.reset(spec, place, recorder.bind(), TIMEOUT)
        seconds = time.perf_counter() - began
        assert cluster.kubeconfig.read_bytes() == kubeconfig, "it was swept, not restored"
    return seconds


def litter() -> Iterator[dict[str, Any]]:
    """What a test may leave."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "left"}}
    for number in range(18):
        metadata = {"name": f"left-{number}", "namespace": "left"}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    yield next(definitions())
    yield next(objects())
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    yield {**head, "metadata": {"name": "left"}, "rules": rules}


def started(provider: EmbeddedProvider, folder: Path, spec: ClusterSpec) -> tuple[Place, list[TimingEvent]]:
    """A new cluster, and what was recorded of its start."""
    name = f"kina-bench-0-{secrets.token_hex(4)}"
    place = Place(
        name=name, directory=folder / "clusters" / name, slot_lock=folder / f"{name}.lock", tidy=("/bin/true",)
    )
    place.directory.mkdir(parents=True, mode=0o700)
    recorder = TimingRecorder(run="benchmark", worker="main")
    try:
        provider.create(spec, place, recorder.bind(), TIMEOUT)
    except BaseException:
        ended(provider, place)
        raise
    return place, recorder.drain()


def ended(provider: EmbeddedProvider, place: Place) -> None:
    """Nothing is left of the cluster."""
    provider.delete(place)
    shutil.rmtree(place.directory)


def phases(events: Sequence[TimingEvent]) -> dict[str, float]:
    """Seconds by phase; ``ready`` is all but the making of the template."""
    found = {event.phase.value: event.seconds for event in events}
    return found | {"ready": sum(seconds for phase, seconds in found.items() if phase != Phase.TEMPLATE)}


def report(rows: Rows, repetitions: int) -> list[str]:
    """One table per profile as Markdown, and what it comes to."""
    lines = [f"{repetitions} repetitions per profile, interleaved; one cluster at a time.", ""]
    for profile in SPECS:
        table = [
            (f"{kind}: {phase}", *spread(seconds, 1000, 0))
            for kind in KINDS
            for phase, seconds in rows[profile, kind].items()
        ]
        lines += [*markdown_table((f"`{profile}`, ms", "median", "middle half", "range"), table), ""]
        fresh, template, reset, sweep = (median(rows[profile, kind]["ready"]) for kind in KINDS)
        ratios = f"template / fresh {template / fresh:.2f}, reset / fresh {reset / fresh:.2f}"
        lines += [f"`{profile}`: {ratios}, sweep / reset {sweep / reset:.2f}.", ""]
    return lines[:-1]


if __name__ == "__main__":
    sys.exit(main())
