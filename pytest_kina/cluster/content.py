"""What a spec puts into a cluster before anybody uses it: CRDs, charts, manifests, and a function of the user.

They are known by their content, not by their names: a changed file makes another cluster. A function cannot be known
that way (it calls others), so it comes with a key that its author changes with it, and the files that it reads.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.cluster import helm
from pytest_kina.cluster.applying import apply_all
from pytest_kina.cluster.manifests import Manifest, files, load
from pytest_kina.errors import CommandError, KinaError, ManifestError, ProvisionError, SpecError
from pytest_kina.process import run_command
from pytest_kina.spec import ClusterSpec

if TYPE_CHECKING:
    from pytest_kina.charts import Chart
    from pytest_kina.cluster.cluster import Cluster
    from pytest_kina.cluster.resources import ResourceType
    from pytest_kina.waiting import Deadline

IDENTITY = "content"
"""Under which name the digest is in a cluster's identity."""

_MANAGER = "kina-content"


def identity(spec: ClusterSpec) -> dict[str, str]:
    """The digest of all that the spec puts into a cluster; empty when that is nothing. Raises :class:`SpecError`."""
    if not spec.content:
        return {}
    digest = hashlib.sha256()
    function, key, *read = spec.bootstrap or ("", "")
    digest.update(f"{function}\0{key}\0".encode())
    for chart in spec.helm:
        digest.update(b"helm\0" + helm.digest(chart))
    for name, paths in (("crds", spec.crds), ("manifests", spec.manifests), ("bootstrap", read)):
        for path in paths:
            try:
                for file in files(Path(path)):
                    content = file.read_bytes()
                    digest.update(f"{name}\0{file.name}\0{len(content)}\0".encode() + content)
            except (ManifestError, OSError) as error:
                raise SpecError(
                    f"{name}: {error}", next_step="paths are relative to pytest's rootdir; give one that exists"
                ) from error
    return {IDENTITY: digest.hexdigest()}


def check(spec: ClusterSpec) -> None:
    """Render the charts of ``spec``, before anything is started for it.

    Raises :class:`SpecError`, and :class:`~pytest_kina.errors.BinaryError` where there is no helm.
    """
    for chart in spec.helm:
        helm.render(chart, spec.version)


def obstacle(spec: ClusterSpec) -> str | None:
    """Why this process cannot install the content of ``spec``: a file has gone, a function cannot be found; or None."""
    try:
        identity(spec)
    except SpecError as error:
        return error.message
    if spec.helm and (why := helm.missing()):
        return why
    if spec.bootstrap and find_spec(spec.bootstrap[0].partition(":")[0].partition(".")[0]) is None:
        return f"bootstrap: {spec.bootstrap[0]} cannot be imported here"
    return None


def install(cluster: Cluster, deadline: Deadline) -> None:
    """Put the content of the cluster's spec into it, and wait until it is served and its Deployments are available.

    Raises :class:`ProvisionError` that names what could not be installed, with the attribute ``content``.
    """
    spec = cluster.spec
    if identity(spec).get(IDENTITY) != cluster.identity.get(IDENTITY):
        raise ProvisionError(
            f"cluster {cluster.name}: a file of its spec has changed since the cluster was asked for",
            next_step="start a new test run",
            content=True,
        )
    for path in spec.crds:
        with _explained(cluster, f"crds: {path}"):
            _apply(cluster, _definitions(Path(path)), "default", deadline)
    for chart in spec.helm:
        with _explained(cluster, f"helm: {chart.path}"):
            _release(cluster, chart, deadline)
    for path in spec.manifests:
        with _explained(cluster, f"manifests: {path}"):
            _apply(cluster, load(Path(path)), "default", deadline)
    if spec.bootstrap:
        _bootstrap(cluster, spec.bootstrap[0], deadline)


@contextmanager
def _explained(cluster: Cluster, what: str) -> Iterator[None]:
    try:
        yield
    except (KinaError, OSError) as error:
        raise _failed(cluster, f"{what}: {error}") from error


def _definitions(path: Path) -> list[Manifest]:
    manifests = load(path)
    if others := [manifest for manifest in manifests if not manifest.is_crd]:
        raise ManifestError(
            f"{others[0].place}: expected a CustomResourceDefinition, got a {others[0].kind}",
            next_step="name files with other objects in manifests",
        )
    return manifests


def _release(cluster: Cluster, chart: Chart, deadline: Deadline) -> None:
    manifests = helm.render(chart, cluster.version, deadline.remaining)
    if chart.namespace != "default":
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": chart.namespace}}
        cluster.apply(namespace, field_manager=_MANAGER)
    _apply(cluster, manifests, chart.namespace, deadline)


def _apply(cluster: Cluster, manifests: list[Manifest], home: str, deadline: Deadline) -> None:
    """What is namespaced and names no namespace goes to ``home``."""

    def place(manifest: Manifest, kind: ResourceType) -> str | None:
        return (manifest.namespace or home) if kind.namespaced else None

    apply_all(cluster.connection, manifests, place=place, field_manager=_MANAGER, force=False)
    if not cluster.spec.simulated_nodes:
        return
    for manifest in manifests:
        if manifest.kind == "Deployment":
            where, target = manifest.namespace or home, f"deployment/{manifest.name}"
            cluster.wait(target, condition="Available", namespace=where, timeout=deadline.remaining)


def _bootstrap(cluster: Cluster, function: str, deadline: Deadline) -> None:
    """In a process of its own, which can be ended when it takes too long, with the modules of this one."""
    env = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    argv = [sys.executable, "-m", "pytest_kina.cluster.bootstrapping", function, str(cluster.directory)]
    try:
        run_command(argv, timeout=deadline.remaining, env=env)
    except CommandError as error:
        raise _failed(cluster, f"bootstrap: {function}: {error}") from error


def _failed(cluster: Cluster, problem: str) -> ProvisionError:
    return ProvisionError(
        f"cluster {cluster.name}: its content could not be installed; {problem}",
        next_step="correct it; the cluster is deleted, and no template is made of it",
        cluster=cluster.name,
        content=True,
    )
