"""Templates: what etcd held when a cluster was first ready, with the authority of that cluster's serving certificate.

A template is a directory that is complete from the moment it has its name (renamed into place) and is never changed
afterwards, so it needs no lock: whoever copies it compares the digest of the copy, and takes a damaged or vanished one
for none at all. It is made of the first fresh cluster of its key, from a snapshot of the running etcd, before that
cluster is handed out: that takes a tenth of a second, no other cluster, and nobody ever waits for a template.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kina import crashpoints
from pytest_kina.files import peek_json, private_directory, write_json
from pytest_kina.providers.embedded import components, snapshots, sparse
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.spec import ClusterSpec, fingerprint
from pytest_kina.waiting import Deadline, Probe

_log = logging.getLogger(__name__)

_SCHEMA = 1
_FILE = "template.json"
_CONTENT = "content"
_ETCD = "etcd"
_AUTHORITY = ("serving-ca.crt", "serving-ca.key")
_AGE = 7 * 86_400.0
"""Seconds that a template is used: its authority is valid for 30 days, and clusters made of it should outlive it."""

_BYTES = 512 * 2**20
"""How much disk all templates of a root may take; beyond it the one that was used longest ago goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template: its place, what it is for, when it was made (wall clock), and the digest of its content.

    ``uid`` is that of the namespace ``default``, by which a running cluster shows that it is made of this template.
    """

    directory: Path
    created: float
    digest: str
    uid: str
    kubernetes: str
    spec: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Equal for clusters that may start from it."""
        return self.directory.name

    @property
    def used(self) -> float:
        """When a cluster last started from it (wall clock); the time it was made, if none has."""
        try:
            return (self.directory / _FILE).stat().st_mtime
        except OSError:
            return self.created

    @property
    def size(self) -> int:
        """Bytes of disk."""
        try:
            return sparse.allocated_bytes(self.directory)
        except OSError:  # it goes away right now
            return 0

    def unpack(self, layout: Layout) -> bool:
        """Copy it into a cluster's empty folders; False, and the template is gone, when it is not what was kept."""
        copied = layout.work
        try:
            if sparse.copy_tree(self.directory / _CONTENT, copied) == self.digest:
                os.replace(copied / _ETCD, layout.etcd)
                for name in _AUTHORITY:
                    os.replace(copied / name, layout.pki / name)
                with suppress(FileNotFoundError):  # evicted after we had copied it
                    os.utime(self.directory / _FILE)
                return True
        except FileNotFoundError as error:
            _log.info("template %s is not complete: %s", self.key, error)
        finally:
            shutil.rmtree(copied, ignore_errors=True)
        self.discard("its content is not what was kept")
        return False

    def discard(self, why: str) -> None:
        """Remove it, because it turned out to be of no use; ``why`` is for the log."""
        _log.warning("template %s is removed: %s", self.key, why)
        remove(self.directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A running cluster that nobody has used yet: files, etcd, and what makes a data directory of a snapshot."""

    layout: Layout
    etcd: Probe
    etcdutl: Path
    uid: str
    spec: ClusterSpec
    kubernetes: str


def key_of(spec: ClusterSpec, identity: Mapping[str, str]) -> str:
    """Equal for clusters that hold the same objects when they are first ready: 16 hexadecimal digits."""
    stages = hashlib.sha256(components.STAGES.read_bytes()).hexdigest()
    return fingerprint(spec, "embedded", {**identity, "template": str(_SCHEMA), "stages": stages})


def find(directory: Path) -> Template | None:
    """The template in ``directory``, unless it is missing, unusable or too old; its content is checked at its use."""
    document = peek_json(directory / _FILE, _SCHEMA)
    try:
        template = (
            Template(
                directory=directory,
                created=float(document["created"]),
                digest=str(document["digest"]),
                uid=str(document["uid"]),
                kubernetes=str(document["kubernetes"]),
                spec=dict(document["spec"]),
            )
            if document
            else None
        )
    except (LookupError, TypeError, ValueError):
        template = None
    return template if template and 0 <= time.time() - template.created < _AGE else None


def found(templates: Path) -> list[Template]:
    """All usable templates below ``templates``, the one used last first."""
    entries = sorted(templates.iterdir()) if templates.is_dir() else []
    usable = [template for entry in entries if not entry.name.startswith(".") and (template := find(entry))]
    return sorted(usable, key=lambda template: -template.used)


def keep(directory: Path, origin: Origin, deadline: Deadline) -> None:
    """Make the template ``directory`` of a running cluster, unless somebody else just did; then evict what is old.

    Until it is complete it lives in the cluster's own directory, and goes with it when we die. Raises
    :class:`~pytest_kina.errors.KinaError` and :class:`OSError`.
    """
    work = origin.layout.work
    restored, made = work / "restored", work / "made"
    try:
        for folder in (work, restored, made):
            folder.mkdir(mode=0o700)
        with crashpoints.around("template.snapshot"):
            snapshots.take(origin.etcd, work / "snapshot")
        with crashpoints.around("template.restore"):
            snapshots.restore(origin.etcdutl, work / "snapshot", restored / _ETCD, deadline.remaining)
        for name in _AUTHORITY:
            shutil.copyfile(origin.layout.pki / name, restored / name)
        digest = sparse.copy_tree(restored, made / _CONTENT)
        about = {"uid": origin.uid, "kubernetes": origin.kubernetes, "spec": origin.spec.to_json()}
        write_json(made / _FILE, _SCHEMA, {"created": time.time(), "digest": digest, **about})
        with crashpoints.around("template.publish"):
            _install(made, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    evict(directory.parent)


def evict(templates: Path, *, bytes_allowed: int = _BYTES) -> None:
    """Remove what no cluster may start from any more, and the least recently used beyond ``bytes_allowed``."""
    usable = found(templates)
    total = 0
    for template in usable:
        total += template.size
        if total > bytes_allowed:
            remove(template.directory)
    names = {template.directory for template in usable}
    for entry in templates.iterdir():  # too old, unusable, or half removed by somebody who died
        if entry not in names:
            remove(entry)


def _install(made: Path, directory: Path) -> None:
    private_directory(directory.parent)
    if find(directory) is None:
        remove(directory)
    try:
        os.replace(made, directory)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # otherwise: who came first stays, both are as good
            raise


def remove(directory: Path) -> None:
    """Remove a template; who is copying it meanwhile notices.

    It is renamed away first, so that nobody sees half of it under its name.
    """
    gone = directory.with_name(f".{directory.name}.{os.getpid()}.{time.monotonic_ns()}")
    with suppress(FileNotFoundError):
        os.replace(directory, gone)
        with crashpoints.around("template.remove"):
            shutil.rmtree(gone, ignore_errors=True)
