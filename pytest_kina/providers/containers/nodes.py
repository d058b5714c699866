"""Image archives in nodes: loaded once per cluster, and proven to be where pods look for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_kina.errors import CommandError, ProvisionError
from pytest_kina.files import peek_json, write_json
from pytest_kina.providers import Place
from pytest_kina.providers.containers.archives import references_in

_SCHEMA = 1
_LOADED = "loaded.json"


def load_once(
    place: Place,
    archive: Path,
    nodes: Sequence[str],
    load: Callable[[], None],
    listed: Callable[[str], str],
    timeout: float,
) -> None:
    """Have ``archive`` in all ``nodes`` of the cluster; of several processes one loads it and the others wait.

    ``load`` loads it, ``listed`` is what ``crictl images -o json`` says in a node: that is where a kubelet looks, and
    a tool's success says nothing about it. ``timeout`` is in seconds. Raises :class:`ProvisionError`.
    """
    from filelock import FileLock, Timeout

    names, file = references_in(archive), archive.stat()
    mark = f"{archive.resolve()} {file.st_size} {file.st_mtime_ns}"
    record = place.directory / _LOADED
    try:
        with FileLock(place.directory / "images.lock", timeout=timeout, fallback_to_soft=False):
            loaded = (peek_json(record, _SCHEMA) or {}).get("archives", [])
            if mark in loaded:
                return
            load()
            for node in nodes:
                _refuse_missing(place.name, node, names, listed(node))
            write_json(record, _SCHEMA, {"archives": [*loaded, mark]})
    except (CommandError, Timeout) as error:
        raise ProvisionError(
            f"cluster {place.name}: {archive} could not be loaded: {error}", cluster=place.name
        ) from error


def _refuse_missing(cluster: str, node: str, names: Sequence[str], said: str) -> None:
    try:
        there = {tag for image in json.loads(said)["images"] for tag in image.get("repoTags") or ()}
    except (ValueError, LookupError, TypeError, AttributeError):
        there = set()
    if missing := [name for name in names if name not in there]:
        raise ProvisionError(
            f"cluster {cluster}: {', '.join(missing)} was loaded, but pods on {node} do not find it",
            next_step="is the image of the node's architecture? `crictl images` in the node shows what is there",
            cluster=cluster,
        )
