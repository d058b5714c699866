"""Helm charts: rendered by the ``helm`` program, applied by us.

``helm template`` needs no cluster, and no network for a chart on disk whose dependencies are there. Repositories,
plugins and caches of the user are kept from it, so that a chart means the same everywhere. Hooks are left out: they are
made to run at certain moments of an installation, and there is none.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_kina.charts import Chart
from pytest_kina.cluster import programs
from pytest_kina.cluster.manifests import Manifest, load_text
from pytest_kina.errors import BinaryError, CommandError, SpecError
from pytest_kina.process import environment, run_command

_SECONDS = 60.0


def digest(chart: Chart) -> bytes:
    """The digest of all that is rendered: the files of the chart and its values, the values of the spec, the names.

    Not of what it is rendered to: charts that make certificates or passwords render something else each time.
    Raises :class:`SpecError` for a path that does not exist.
    """
    found = hashlib.sha256()
    for text in (chart.release, chart.namespace, chart.values):
        found.update(f"{text}\0".encode())
    for path in (chart.path, *chart.files):
        for name, file in _files(Path(path)):
            content = file.read_bytes()
            found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.digest()


def render(chart: Chart, version: str, timeout: float = _SECONDS) -> list[Manifest]:
    """The objects of the release for Kubernetes ``version``, CRDs first; each knows its chart.

    Raises :class:`~pytest_kina.errors.BinaryError` when there is no helm, and
    :class:`~pytest_kina.errors.SpecError` with helm's own words when the chart cannot be rendered.
    """
    values = ["--values=-"] if chart.values else []
    files = [f"--values={file}" for file in chart.files]
    argv: list[str | Path] = [_program(), "template", chart.release, chart.path, f"--namespace={chart.namespace}"]
    argv += ["--include-crds", "--no-hooks", f"--kube-version={version}", *files, *values]
    with tempfile.TemporaryDirectory(prefix="kina-helm-") as home:
        places = {f"HELM_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")}
        try:
            # Not in the project's directory: what is in it is no part of the chart.
            result = run_command(
                argv, timeout=timeout, env=environment(places), cwd=Path(home), stdin=chart.values or None
            )
        except CommandError as error:
            raise SpecError(
                f"helm: {chart.path} cannot be rendered: {str(error.details['stderr']).strip() or error.message}",
                next_step="correct the chart or its values; `helm lint` may say more",
            ) from error
    return load_text(result.stdout, f"{chart.path} (rendered)")


def missing() -> str | None:
    """One sentence when there is no helm here, else None."""
    try:
        _program()
    except BinaryError as error:
        return str(error)
    return None


def _program() -> Path:
    if found := programs.find("helm"):
        return found
    raise BinaryError(
        "helm: there is no helm to render the charts of the spec with, neither in KINA_ASSETS nor on PATH",
        next_step="install Helm 3 or later (https://helm.sh/docs/intro/install)",
    )


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                yield str(file.relative_to(path)), file
    else:
        raise SpecError(
            f"helm: there is no file or folder {str(path)!r}",
            next_step="paths are relative to pytest's rootdir; charts of a repository have to be pulled first",
        )
