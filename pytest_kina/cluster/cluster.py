"""The handle of one cluster: who it is, and all that a test does with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_kina.cluster.namespace import Namespace, namespace_manifest, namespace_name
from pytest_kina.cluster.verbs import Verbs
from pytest_kina.errors import StateError
from pytest_kina.files import peek_json
from pytest_kina.spec import ClusterDescription, ClusterSpec

if TYPE_CHECKING:
    from pytest_kina.cluster.connection import Connection
    from pytest_kina.cluster.simulating import Simulator


class Cluster(Verbs):
    """One cluster, as one user of it. Get it from the fixtures or :meth:`open`; making and deleting is the pool's.

    Opening costs nothing: connections are made on first use, one per process.
    """

    def __init__(self, description: ClusterDescription, directory: Path, kubeconfig: Path) -> None:
        self._description = description
        self._directory = directory
        self._kubeconfig = kubeconfig
        self._connection: tuple[int, Connection] | None = None

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The cluster that lives in ``directory``, as its administrator.

        Raises :class:`~pytest_kina.errors.StateError` when there is none (any more).
        """
        path = directory / ClusterDescription.FILE
        document = peek_json(path, ClusterDescription.SCHEMA)
        if document is None:
            raise StateError(
                f"{path} is missing or not a description of a cluster that this version knows",
                next_step="`pytest-kina status` lists the clusters that exist",
                path=path,
            )
        return cls(ClusterDescription.from_json(document), directory, directory / "kubeconfig")

    def __repr__(self) -> str:
        return f"<Cluster {self.name} {self.provider} {self.version} {self.profile}>"

    @property
    def name(self) -> str:
        """The cluster's name; also that of its kubeconfig's context."""
        return self._description.name

    @property
    def provider(self) -> str:
        """What made it: ``embedded``, ``kind``, or another provider."""
        return self._description.provider

    @property
    def version(self) -> str:
        """The Kubernetes version that runs, as ``v1.36.3``."""
        return self._description.kubernetes

    @property
    def spec(self) -> ClusterSpec:
        """What was asked for."""
        return self._description.spec

    @property
    def identity(self) -> Mapping[str, str]:
        """What made it what it is besides the spec: versions, digests of binaries and of its content."""
        return dict(self._description.identity)

    @property
    def profile(self) -> str:
        """``workloads`` (with controllers and nodes) or ``api`` (etcd and the API server only)."""
        return self.spec.profile

    @property
    def directory(self) -> Path:
        """The cluster's own directory; gone when the cluster is."""
        return self._directory

    @property
    def kubeconfig(self) -> Path:
        """The private kubeconfig (0600) of this handle's user, with one context."""
        return self._kubeconfig

    def namespace(self, name: str) -> Namespace:
        """The handle of an existing namespace."""
        return Namespace(self, name)

    def create_namespace(self, prefix: str = "test", annotations: Mapping[str, str] | None = None) -> Namespace:
        """A new namespace that is ready for pods: it has its ServiceAccount and the cluster's CA.

        ``prefix`` may be a test id; it becomes the readable part of the name. Raises ApiError.
        """
        name = namespace_name(prefix)
        self.apply(namespace_manifest(name, self.name, annotations or {}))
        return Namespace(self, name)

    @property
    def simulate(self) -> Simulator:
        """What simulated nodes and pods can be made to do; see :class:`~pytest_kina.cluster.simulating.Simulator`.

        Raises :class:`~pytest_kina.errors.KinaError` where nothing can be simulated.
        """
        from pytest_kina.cluster.simulating import Simulator

        return Simulator(self)

    def component_logs(self, lines: int = 40) -> dict[str, str]:
        """The last ``lines`` lines of each file in the cluster's ``logs`` directory, by component."""
        from pytest_kina.files import tail

        found = sorted((self._directory / "logs").glob("*.log"))
        return {path.stem: tail(path, lines) for path in found}

    def kubeconfig_for(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig (0600, in the cluster's directory) of a user with this name and groups, without any role.

        Raises :class:`~pytest_kina.errors.KinaError` where we do not own the cluster's client CA.
        """
        from pytest_kina.cluster.users import write_kubeconfig

        return write_kubeconfig(self, name, groups)

    def as_user(
        self, name: str, groups: Sequence[str] = (), role: str | Sequence[Mapping[str, Any]] | None = None
    ) -> Cluster:
        """A handle that acts as the user ``name``, a member of ``groups``.

        ``role`` is granted in the whole cluster before the handle is returned: ``view``, ``edit``, ``admin``,
        ``cluster-admin``, another ClusterRole, or rules (``{"apiGroups", "resources", "verbs"}``). It stays granted
        to this name until the cluster is reset.
        """
        from pytest_kina.cluster.users import grant

        other = Cluster(self._description, self._directory, self.kubeconfig_for(name, groups))
        if role is not None:
            grant(self.connection, other.connection, name, role, namespace=None)
        return other

    @property
    def connection(self) -> Connection:
        """What the handle talks through in this process; for this package's own use."""
        from pytest_kina.cluster.connection import Connection, Traits
        from pytest_kina.cluster.kubeconfig import read

        if self._connection is None or self._connection[0] != os.getpid():
            connection = Connection(
                read(self._kubeconfig),
                cluster=self.name,
                private=self._directory / "client",
                traits=Traits(controllers=self.profile == "workloads", simulated=self.provider == "embedded"),
            )
            self._connection = (os.getpid(), connection)
        return self._connection[1]

    @property
    def _home(self) -> None:
        return None
