"""Real clusters for tests and benchmarks, made by the embedded provider without the pool, and always deleted."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_kina.cluster import Cluster, content
from pytest_kina.files import write_json
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterDescription, ClusterSpec, fingerprint
from pytest_kina.timing import TimingRecorder

_TIMEOUT = 120.0


@contextmanager
def described(provider: EmbeddedProvider, folder: Path, spec: ClusterSpec) -> Iterator[Place]:
    """A place for one cluster below ``folder``, as the pool makes it; nothing is left of it afterwards."""
    name = f"kina-made-0-{secrets.token_hex(4)}"
    directory = folder / "clusters" / name
    place = Place(name=name, directory=directory, slot_lock=folder / f"{name}.lock", tidy=("/bin/true",))
    identity = {**content.identity(spec), **provider.prepare(spec, silent)}
    description = ClusterDescription(
        name=name,
        provider="embedded",
        fingerprint=fingerprint(spec, "embedded", identity),
        spec=spec,
        identity=tuple(sorted(identity.items())),
    )
    directory.mkdir(parents=True, mode=0o700)
    write_json(directory / ClusterDescription.FILE, ClusterDescription.SCHEMA, description.to_json())
    try:
        yield place
    finally:
        provider.delete(place)
        shutil.rmtree(directory)


@contextmanager
def embedded_cluster(folder: Path, spec: ClusterSpec) -> Iterator[Cluster]:
    """A cluster of ``spec`` below ``folder`` for the length of the block."""
    provider = EmbeddedProvider(folder / "root")
    with described(provider, folder, spec) as place:
        stopwatch = TimingRecorder(run="e2e", worker="main").bind(cluster=place.name)
        provider.create(spec, place, stopwatch, _TIMEOUT)
        yield Cluster.open(place.directory)
