"""What tests have left in a cluster outside of namespaces: cluster-scoped objects that are new, changed or gone.

One listing of metadata per type (``PartialObjectMetadataList``), about 60 ms for all of them. etcd's revision, which a
``resourceVersion`` is, tells what was written since a moment; ``managedFields`` tell by whom. What only the control
plane itself has written is its own business.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_kina.cluster.api import HASTY_TIMEOUT
from pytest_kina.cluster.listing import METADATA, items_of, types_of
from pytest_kina.files import append_line, peek_json, write_json

if TYPE_CHECKING:
    from pytest_kina.cluster.connection import Connection

SCHEMA = 1
_CONTROL_PLANE = frozenset(
    {
        "clusterrole-aggregation-controller",  # of the controller-manager, which applies in its name
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    }
)
_OURS = re.compile(r"pytest-kina-[0-9a-f]{12}")
"""Roles and bindings of ``as_user``, which stay until a reset, as its documentation says."""
_OUR_TEST = "pytest-kina/test"
"""Annotation of the namespaces of tests: deleted already, or kept because somebody asked for it."""
_NODE = re.compile(r"node-\d+")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One object: ``change`` is added, changed or removed; ``managers`` wrote it; ``test`` is known if it was alone."""

    cluster: str
    kind: str
    name: str
    change: str
    managers: tuple[str, ...] = ()
    test: str = ""

    def __str__(self) -> str:
        by = f" by {', '.join(self.managers)}" if self.managers else ""
        return f"{self.cluster}: {self.kind}/{self.name} {self.change}{by}{f' in {self.test}' if self.test else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A moment in a cluster's life: etcd's revision, the time (seconds since 1970), and what there was, if known.

    Without ``objects`` it costs one small request, and objects that have gone since cannot be told.
    """

    revision: int
    at: float
    objects: Mapping[Key, str] | None = field(default=None)

    @classmethod
    def take(cls, connection: Connection, *, whole: bool) -> Self:
        """Now; ``whole`` lists all objects, too. Raises :class:`~pytest_kina.errors.ApiError`."""
        revision = _revision(connection)
        listed = _objects(connection) if whole else ()
        found = {key: str(item["uid"]) for key, item in listed if not _is_expected(key[0], item)} if whole else None
        return cls(revision=revision, at=time.time(), objects=found)

    def leaks(self, connection: Connection, *, cluster: str, test: str = "") -> list[Leak]:
        """What has been left since, by kind and name. Raises :class:`~pytest_kina.errors.ApiError`."""
        _revision(connection)  # a server that hangs is noticed here, in seconds
        connection.discovery.refresh()
        found: list[Leak] = []
        there: set[Key] = set()
        for (kind, name), metadata in _objects(connection):
            there.add((kind, name))
            if int(metadata["resourceVersion"]) <= self.revision or _is_expected(kind, metadata):
                continue
            change = "added" if self._is_new((kind, name), metadata) else "changed"
            managers = _writers(metadata, self._whole_second)
            # An object of which nobody owns a field (a custom one with nothing but a name) has no managed fields.
            if not managers and (change == "changed" or metadata.get("managedFields")):
                continue
            found.append(Leak(cluster=cluster, kind=kind, name=name, change=change, managers=managers, test=test))
        gone = sorted((self.objects or {}).keys() - there)
        found += [Leak(cluster=cluster, kind=kind, name=name, change="removed", test=test) for kind, name in gone]
        return sorted(found, key=lambda leak: (leak.kind, leak.name))

    @property
    def _whole_second(self) -> float:
        """Times of objects have no fractions."""
        return float(int(self.at))

    def _is_new(self, key: Key, metadata: Mapping[str, Any]) -> bool:
        if self.objects is not None:
            return key not in self.objects or self.objects[key] != str(metadata["uid"])
        return _seconds(metadata["creationTimestamp"]) >= self._whole_second


def shared_baseline(run: Path, connection: Connection, cluster: str, *, whole: bool) -> Baseline:
    """The baseline of a cluster that several processes of a run share: that of the first of them.

    Raises :class:`~pytest_kina.errors.ApiError` and :class:`OSError`.
    """
    folder = run / "leaks"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{cluster}.baseline.json"
    if (known := peek_json(path, SCHEMA)) is None:
        taken = Baseline.take(connection, whole=whole)
        objects = None if taken.objects is None else [[*key, uid] for key, uid in taken.objects.items()]
        write_json(path, SCHEMA, {"revision": taken.revision, "at": taken.at, "objects": objects})
        return taken
    objects = known["objects"]
    listed = None if objects is None else {(kind, name): uid for kind, name, uid in objects}
    return Baseline(revision=known["revision"], at=known["at"], objects=listed)


def write(run: Path, worker: str, *, cluster: str, began: float, leaks: Sequence[Leak]) -> None:
    """Append what a search of ``cluster`` has found to ``leaks/<worker>.jsonl`` of the run. Raises :class:`OSError`.

    ``began`` is when it began, in seconds since 1970.
    """
    folder = run / "leaks"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = {"schema": SCHEMA, "cluster": cluster, "began": began, "leaks": [asdict(leak) for leak in leaks]}
    append_line(folder / f"{worker}.jsonl", json.dumps(found))


def read(run: Path) -> list[Leak]:
    """The leaks that all processes of a run have found; lines that are none are skipped.

    Of a shared cluster only the latest search counts: those before it saw what other tests were still using.
    """
    alone: list[Leak] = []
    latest: dict[str, tuple[float, list[Leak]]] = {}
    for path in sorted((run / "leaks").glob("*.jsonl")):
        for cluster, began, leaks in _searches(path):
            alone += [leak for leak in leaks if leak.test]
            if began >= latest.get(cluster, (0.0, []))[0]:
                latest[cluster] = began, [leak for leak in leaks if not leak.test]
    return [*(leak for _, leaks in latest.values() for leak in leaks), *alone]


def _searches(path: Path) -> Iterator[tuple[str, float, list[Leak]]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            document = json.loads(line)
            leaks = [Leak(**{**leak, "managers": tuple(leak["managers"])}) for leak in document["leaks"]]
            yield document["cluster"], document["began"], leaks
        except (ValueError, LookupError, TypeError):
            continue


def _revision(connection: Connection) -> int:
    """The revision of etcd now, by the smallest of lists."""
    call = connection.api.call("list", "namespaces")
    query = [("limit", "1")]
    answer = connection.api.request(
        "GET", "/api/v1/namespaces", call, query=query, accept=METADATA, timeout=HASTY_TIMEOUT
    )
    return int(answer["metadata"]["resourceVersion"])


def _objects(connection: Connection) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    """The metadata of every cluster-scoped object that is not being deleted, with its key."""
    for kind in types_of(connection):
        for item in () if kind.namespaced else items_of(connection, kind):
            if "deletionTimestamp" not in item["metadata"]:
                yield (kind.full_name, item["metadata"]["name"]), item["metadata"]


def _writers(metadata: Mapping[str, Any], since: float) -> tuple[str, ...]:
    """Who, beside the control plane, has written the object (not only its status) at or after ``since``."""
    entries = [entry for entry in metadata.get("managedFields", ()) if not entry.get("subresource")]
    recent = {entry["manager"] for entry in entries if _seconds(entry["time"]) >= since}
    return tuple(sorted(recent - _CONTROL_PLANE))


def _is_expected(kind: str, metadata: Mapping[str, Any]) -> bool:
    """Whether the object is ours, and its staying is no surprise."""
    if kind == "nodes":
        return bool(_NODE.fullmatch(metadata["name"]))
    if kind == "namespaces":
        return _OUR_TEST in metadata.get("annotations", {})
    return kind.endswith(".rbac.authorization.k8s.io") and _OURS.fullmatch(metadata["name"]) is not None


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
