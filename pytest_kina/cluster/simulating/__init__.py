"""Simulations: pods that fail, start slowly or crash, nodes that come, go and break, claims that get their volumes.

Only for clusters whose nodes are simulated anyway; on others a kubelet decides.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from pytest_kina.cluster.simulating import nodes as node_objects
from pytest_kina.cluster.simulating import stages
from pytest_kina.cluster.simulating.kwok import Kwok
from pytest_kina.cluster.simulating.selectors import Expression, expressions
from pytest_kina.errors import KinaError
from pytest_kina.spec import MOST_NODES

if TYPE_CHECKING:
    from pytest_kina.cluster.cluster import Cluster
    from pytest_kina.cluster.simulating.stages import Stage

_REASON = re.compile(r"[A-Z][A-Za-z]{0,62}")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_SHORTEST_BACKOFF = 0.1
"""Seconds; less would be a loop that keeps the API server busy."""


class Simulation:
    """Something that is simulated until :meth:`withdraw`, the end of its ``with`` block, or a reset of the cluster.

    ``names`` are the nodes that it made, if that is what it does.
    """

    def __init__(self, what: str, end: Callable[[], None], names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self._what = what
        self._end: Callable[[], None] | None = end

    def __repr__(self) -> str:
        return f"<Simulation: {self._what}{'' if self._end else ', withdrawn'}>"

    def withdraw(self) -> None:
        """End it: what it holds back goes on, what it made goes away. The second call does nothing.

        Raises :class:`~pytest_kina.errors.StateError` when the cluster is gone.
        """
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdraw()


class Simulator:
    """What can be simulated on a cluster, or (from a namespace's handle) in one namespace of it.

    ``selector`` is a label selector of pods or claims as for ``kubectl``; ``"*"`` means all. When a method returns, its
    simulation is in force: no object is treated by the old rules any more. Two simulations of the same pod at once
    exclude each other; kwok then takes either.

    All raise :class:`ValueError` for arguments that make no sense, :class:`~pytest_kina.errors.KinaError` on clusters
    without simulated nodes, and :class:`~pytest_kina.errors.StateError` on one that has ended.
    """

    def __init__(self, cluster: Cluster, namespace: str | None = None) -> None:
        if not (cluster.connection.traits.simulated and cluster.connection.traits.controllers):
            raise KinaError(
                f"cluster {cluster.name} cannot simulate anything: provider {cluster.provider!r}, profile"
                f" {cluster.profile!r}; simulations need the embedded provider and its profile 'workloads'",
                next_step="ask for such a cluster: @pytest.mark.kina_cluster(provider='embedded', profile='workloads')",
            )
        self._cluster = cluster
        self._namespace = namespace
        self._kwok = Kwok(cluster.directory)

    def nodes(
        self,
        number: int,
        *,
        labels: Mapping[str, str] = _NOTHING,
        taints: Sequence[Mapping[str, str]] = (),
        capacity: Mapping[str, str] = _NOTHING,
    ) -> Simulation:
        """Add ``number`` nodes, and return when they are Ready.

        ``taints`` are as in a node's spec (``{"key", "value", "effect"}``); ``capacity`` goes over
        :data:`~pytest_kina.cluster.simulating.nodes.CAPACITY` (``{"cpu": "4", "nvidia.com/gpu": "2"}``). At most
        10,000 nodes per cluster. Withdrawing deletes them and the pods on them. Raises ApiError.
        """
        if number < 1:
            raise ValueError(f"expected at least 1 node, got {number}")
        connection = self._cluster.connection
        there = node_objects.count(connection)
        if there + number > MOST_NODES:
            raise ValueError(
                f"{number} nodes beside the {there} of {self._cluster.name} would be more than {MOST_NODES:,},"
                " which is more than an API server of this size carries"
            )
        owner = secrets.token_hex(4)
        names = [f"simulated-{owner}-{each}" for each in range(number)]
        simulation = Simulation(f"{number} nodes", lambda: node_objects.delete(connection, owner, names), names)
        wanted = {"labels": dict(labels), "taints": [dict(taint) for taint in taints], "capacity": dict(capacity)}
        try:
            node_objects.create(connection, owner, names, wanted, there)
        except BaseException:
            simulation.withdraw()
            raise
        return simulation

    def fail_pods(self, selector: str, reason: str = "ImagePullBackOff") -> Simulation:
        """Pods that have not started yet wait forever, for ``reason`` (``ErrImagePull``, ``CreateContainerError``…).

        Pods that run already are left alone. After withdrawal they start.
        """
        if not _REASON.fullmatch(reason):
            raise ValueError(f"a reason is one word like ImagePullBackOff, not {reason!r}")
        return self._begin(f"pods {selector}: {reason}", stages.failing(self._chosen(selector), reason))

    def slow_start(self, selector: str, seconds: float) -> Simulation:
        """Pods take at least ``seconds`` (and up to one more) from ``ContainerCreating`` to Ready.

        After withdrawal those that still wait start at once.
        """
        if not 0 < seconds <= 86_400:
            raise ValueError(f"expected more than 0 and at most 86400 seconds, got {seconds:g}")
        return self._begin(f"pods {selector}: {seconds:g} s to start", stages.slow(self._chosen(selector), seconds))

    def crash_loop(self, selector: str, *, backoff: float = 10.0, exit_code: int = 1) -> Simulation:
        """Containers exit with ``exit_code`` as soon as they run, also those that run now, again and again.

        Meanwhile they are in ``CrashLoopBackOff`` for ``backoff`` seconds; ``restartCount`` grows. After withdrawal
        they run.
        """
        if backoff < _SHORTEST_BACKOFF:
            raise ValueError(f"expected a back-off of at least {_SHORTEST_BACKOFF} s, got {backoff:g}")
        if not 1 <= exit_code <= 255:
            raise ValueError(f"an exit code of a container that crashes is from 1 to 255, not {exit_code}")
        chosen = self._chosen(selector)
        return self._begin(
            f"pods {selector}: crash loop", stages.crashing(chosen, backoff=backoff, exit_code=exit_code)
        )

    def node_not_ready(self, name: str) -> Simulation:
        """The node reports that it is not ready, and the controllers treat it so (taints; pods are evicted in time).

        After withdrawal it is Ready. Raises :class:`~pytest_kina.errors.NotFound` when there is no such node.
        """
        self._cluster.get("node", name)
        return self._begin(f"node {name} not ready", stages.node_down(name))

    def bind_claims(self, selector: str = "*", *, storage_class: str | None = None) -> Simulation:
        """PersistentVolumeClaims get a volume each and are Bound, those that wait now, too.

        ``storage_class`` chooses those that name this class; there need not be one. After withdrawal new claims stay
        Pending; volumes stay until their claims are deleted.
        """
        made = stages.claims(self._chosen(selector), storage_class)
        return self._begin(f"claims {selector} are bound", made)

    def _chosen(self, selector: str) -> list[Expression]:
        within: list[Expression] = []
        if self._namespace is not None:
            within = [{"key": ".metadata.namespace", "operator": "In", "values": [self._namespace]}]
        return [*within, *expressions(selector)]

    def _begin(self, what: str, made: Sequence[Stage]) -> Simulation:
        owner = secrets.token_hex(4)
        self._kwok.add(owner, made, stages.COMMON.get(made[0]["spec"]["resourceRef"]["kind"], ()))
        return Simulation(what, lambda: self._kwok.remove(owner))
