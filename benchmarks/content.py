"""What a template saves where clusters have content: 20 CRDs and 200 objects, the size of a certificate manager's set.

Three ways to a cluster with that content take turns in each repetition, in the profile ``api``, one cluster at a time;
one repetition before that fills the caches. *Template*: the spec names the content, and its template exists. *Applying
it each time*: the spec names it, only the template without it exists, and the plugin installs it. *By the test*: a
cluster from its template is ready, and then the official handle's ``apply`` puts the content into it. Times are from
the call to the moment at which all of it is served.

    KINA_ASSETS=/path/to/binaries python -m benchmarks.content --repetitions 10 --record
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.recording import machine_line, markdown_table, publish, repeated, spread
from pytest_kina.cluster import Cluster
from pytest_kina.progress import silent
from pytest_kina.providers.embedded import EmbeddedProvider, templates
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder
from tests.support.clusters import described

GROUP = "certificates.kina.test"
CRDS, OBJECTS = 20, 200
PROPERTIES = 40
"""Fields of each CRD's schema, so that it is as long as one of a real operator: about 6 kB."""

TIMEOUT = 300.0
WAYS = ("template", "applying it each time", "by the test")


def main() -> int:
    """Measure, print, record."""
    chosen = repeated(__doc__, "per way", default=10)
    with tempfile.TemporaryDirectory(prefix="kina-content-") as directory:
        seconds, versions = measure(Path(directory), chosen.repetitions)
    title = f"Content of a cluster: {CRDS} CRDs and {OBJECTS} objects, from a template or applied"
    publish(title, machine_line(**versions), report(seconds, chosen.repetitions), record=chosen.record)
    return 0


def measure(folder: Path, repetitions: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds by way, and the versions that ran."""
    crds, manifests = folder / "crds.json", folder / "objects.json"
    crds.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(definitions())}))
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects())}))
    plain = ClusterSpec(profile="api", simulated_nodes=0)
    full = replace(plain, crds=(str(crds),), manifests=(str(manifests),))
    provider, found = EmbeddedProvider(folder / "root"), {way: list[float]() for way in WAYS}
    identity = provider.prepare(plain, silent)
    for spec in (plain, full):  # makes the two templates
        timed(provider, folder, spec)

    def by_the_test(cluster: Cluster) -> None:
        cluster.apply(crds)
        cluster.apply(manifests)

    ways: dict[str, Callable[[], float]] = {
        WAYS[0]: lambda: timed(provider, folder, full),
        WAYS[1]: lambda: without_template(provider, folder, full),
        WAYS[2]: lambda: timed(provider, folder, plain, by_the_test),
    }
    for number in range(repetitions + 1):
        for way in sorted(WAYS, reverse=number % 2 == 0):
            seconds = ways[way]()
            if number:
                found[way].append(seconds)
    return found, {name: identity[name] for name in ("kubernetes", "etcd") if name in identity}


def without_template(provider: EmbeddedProvider, folder: Path, spec: ClusterSpec) -> float:
    """Seconds to a cluster of ``spec`` whose template has been taken away; it leaves a new one."""
    template = provider.template(spec)
    assert template is not None, "the start before has left one"
    templates.remove(template.directory)
    return timed(provider, folder, spec)


def timed(
    provider: EmbeddedProvider, folder: Path, spec: ClusterSpec, act: Callable[[Cluster], None] | None = None
) -> float:
    """Seconds from the call to a new cluster of ``spec``, ``act`` included, without the making of a template."""
    recorder = TimingRecorder(run="benchmark", worker="main")
    with described(provider, folder, spec) as place:
        began = time.perf_counter()
        provider.create(spec, place, recorder.bind(), TIMEOUT)
        cluster = Cluster.open(place.directory)
        if act:
            act(cluster)
        seconds = time.perf_counter() - began
        if spec.content or act:
            assert len(cluster.list("customresourcedefinitions")) == CRDS
            assert len(cluster.list(f"kind0s.{GROUP}")) == OBJECTS // CRDS
    return seconds - sum(event.seconds for event in recorder.drain() if event.phase == "template")


def definitions() -> Iterator[dict[str, Any]]:
    """The CRDs."""
    text = "What this field is for, in a sentence that is about as long as those of real operators are, or longer."
    fields = {f"field{number}": {"type": "string", "description": text} for number in range(PROPERTIES)}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    for number in range(CRDS):
        names = {"kind": f"Kind{number}", "plural": f"kind{number}s", "singular": f"kind{number}"}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"kind{number}s.{GROUP}"},
            "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
        }


def objects() -> Iterator[dict[str, Any]]:
    """The objects, spread over all CRDs."""
    for number in range(OBJECTS):
        metadata = {"name": f"object-{number}", "namespace": "default"}
        spec = {f"field{each}": f"value {number}" for each in range(5)}
        yield {"apiVersion": f"{GROUP}/v1", "kind": f"Kind{number % CRDS}", "metadata": metadata, "spec": spec}


def report(seconds: dict[str, list[float]], repetitions: int) -> list[str]:
    """A table as Markdown, and the ratios of pairs of one repetition."""
    lines = [f"{repetitions} repetitions per way, interleaved; one cluster at a time, profile `api`.", ""]
    rows = [(way, *spread(seconds[way], 1000, 0)) for way in WAYS]
    lines += [*markdown_table(("ms", "median", "middle half", "range"), rows), ""]
    for way in WAYS[1:]:
        ratios = [one / other for one, other in zip(seconds[WAYS[0]], seconds[way], strict=True)]
        _, _, reach = spread(ratios, 1, 2)
        lines.append(f"template / {way}: median {median(ratios):.2f}, range {reach}.  ")
    return lines


if __name__ == "__main__":
    sys.exit(main())
