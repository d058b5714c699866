"""Everything that a handle needs to talk to its cluster as one user, made on first use in each process."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster import kubeconfig
from pytest_kina.cluster.api import Api
from pytest_kina.cluster.latency import timed
from pytest_kina.cluster.resources import Discovery
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import ApiError, NotFound
from pytest_kina.waiting import Deadline, wait_until

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

_LOOK_AGAIN = 0.005
"""Seconds between two looks at what cannot be watched; one look takes about a millisecond."""
_LOOK_SOON = 0.002
"""The same for what is made within milliseconds; asked more often (1 ms), the questions delay the answer."""
_SOON = 0.25
"""Seconds in which the controllers usually have made an account, so that a watch's own connection would cost more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a cluster can do: whether controllers run, and whether all its nodes are simulated."""

    controllers: bool
    simulated: bool


class Connection:
    """The official client of one kubeconfig, our API over it, and the types that the server serves."""

    def __init__(self, config: kubeconfig.Kubeconfig, *, cluster: str, private: Path, traits: Traits) -> None:
        self.config = config
        self.client: ApiClient = timed(kubeconfig.new_client(config, private), cluster)
        self.api = Api(self.client, cluster=cluster, user=config.user_name)
        self.discovery = Discovery(self.api)
        self.traits = traits
        self._private = private
        self._dynamic: DynamicClient | None = None

    @property
    def dynamic(self) -> DynamicClient:
        """The official dynamic client. Its cache file has a name of its own: it is not written atomically."""
        if self._dynamic is None:
            from kubernetes.dynamic import DynamicClient

            self._private.mkdir(mode=0o700, exist_ok=True)
            cache = self._private / f"discovery-{secrets.token_hex(8)}.json"
            self._dynamic = DynamicClient(self.client, cache_file=str(cache))  # type: ignore[no-untyped-call]
        return self._dynamic

    def await_accounts(self, namespace: str, deadline: Deadline) -> None:
        """Return when pods can be made in ``namespace``: its ServiceAccount and its CA exist.

        Without controllers nobody makes them, and nothing needs them. Raises WaitTimeoutError.
        """
        if not self.traits.controllers:
            return
        for kind, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
            look = partial(self._has, namespace, kind, name)
            if not wait_until(look, Deadline(min(_SOON, deadline.remaining)), interval=_LOOK_SOON):
                target = Target(kind=self.discovery.find(kind, "v1"), namespace=namespace, name=name)
                wait_for(self.api, target, deadline=deadline)

    def _has(self, namespace: str, kind: str, name: str) -> bool:
        call = self.api.call("get", f"{kind}/{name}", namespace)
        try:
            self.api.request("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}", call)
        except NotFound:
            return False
        return True

    def await_served(self, definition: Mapping[str, Any], deadline: Deadline) -> None:
        """Return when all versions of a CRD are discovered and their lists answered.

        ``Established`` comes before both (apiextensions-apiserver publishes discovery and handlers after it).
        Raises :class:`ApiError`.
        """
        spec = definition["spec"]
        for version in (entry["name"] for entry in spec["versions"] if entry["served"]):
            api_version = f"{spec['group']}/{version}"
            look = lambda api_version=api_version: self._serves(api_version, spec["names"]["kind"])  # noqa: E731
            if not wait_until(look, deadline, interval=_LOOK_AGAIN):
                raise ApiError(
                    f"{spec['names']['kind']} in {api_version} is Established but not served after"
                    f" {deadline.seconds:g} s",
                    next_step="look at component_logs() of the API server",
                )

    def _serves(self, api_version: str, kind: str) -> bool:
        self.discovery.refresh()
        return any((known.api_version, known.kind) == (api_version, kind) for known in self.discovery.types())
