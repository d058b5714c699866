"""The handle of one namespace: the same verbs, which never leave it."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster.verbs import FIELD_MANAGER, Verbs
from pytest_kina.errors import NotFound

if TYPE_CHECKING:
    from pytest_kina.cluster.cluster import Cluster
    from pytest_kina.cluster.connection import Connection
    from pytest_kina.cluster.simulating import Simulator

CLUSTER_LABEL = "pytest-kina/cluster"
"""The label of our namespaces with the cluster's name, which in a cluster of the user's tells ours from all others."""

_LONGEST = 63
_DIGITS = 8


def namespace_name(test_id: str) -> str:
    """A name for the namespace of a test: a readable prefix, ``-`` and 8 random hexadecimal digits.

    A DNS label (RFC 1123: at most 63 of ``a-z0-9-``, not beginning or ending with ``-``) whatever ``test_id`` holds.
    Of a node id only the test's own name counts; the file says little and is long.
    """
    head, bracket, parameters = test_id.partition("[")
    own = head.rsplit("::", 1)[-1] + bracket + parameters
    plain = unicodedata.normalize("NFKD", own).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[: _LONGEST - _DIGITS].strip("-")
    readable = words[: _LONGEST - _DIGITS - 1].strip("-") or "test"
    return f"{readable}-{secrets.token_hex(_DIGITS // 2)}"


def namespace_manifest(name: str, cluster: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a namespace that says whose it is; ``cluster`` is the name of the lease's cluster."""
    labels = {"app.kubernetes.io/managed-by": FIELD_MANAGER, CLUSTER_LABEL: cluster}
    metadata = {"name": name, "labels": labels, "annotations": dict(annotations)}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


class Namespace(Verbs):
    """One namespace of a cluster, as one user. Manifests without a namespace go here; with another one, nowhere."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    def __repr__(self) -> str:
        return f"<Namespace {self._name} on {self._cluster.name}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def cluster(self) -> Cluster:
        """The cluster that it is in, as the same user."""
        return self._cluster

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of this handle's user; its context does not name the namespace."""
        return self._cluster.kubeconfig

    @property
    def simulate(self) -> Simulator:
        """Like :attr:`Cluster.simulate`, for pods and claims of this namespace only; nodes belong to no namespace."""
        from pytest_kina.cluster.simulating import Simulator

        return Simulator(self._cluster, self._name)

    def as_user(
        self, name: str, groups: Sequence[str] = (), role: str | Sequence[Mapping[str, Any]] | None = None
    ) -> Namespace:
        """A handle of this namespace that acts as the user ``name``; ``role`` is granted in this namespace only.

        See :meth:`Cluster.as_user` for ``role``.
        """
        from pytest_kina.cluster.users import grant

        other = self._cluster.as_user(name, groups)
        if role is not None:
            grant(self.connection, other.connection, name, role, namespace=self._name)
        return Namespace(other, self._name)

    def delete(
        self,
        target: str | None = None,
        name: str | None = None,
        *,
        wait: bool = False,
        timeout: float = 30.0,
        namespace: str | None = None,
        api_version: str | None = None,
    ) -> None:
        """Delete an object (see :meth:`Verbs.delete`), or without a target the namespace itself; absent is success."""
        if target is None:
            with suppress(NotFound):
                self._delete_namespace(self._name, wait=wait, timeout=timeout)
        else:
            super().delete(target, name, wait=wait, timeout=timeout, namespace=namespace, api_version=api_version)

    @property
    def connection(self) -> Connection:
        """What the handle talks through in this process; for this package's own use."""
        return self._cluster.connection

    @property
    def _home(self) -> str:
        return self._name
