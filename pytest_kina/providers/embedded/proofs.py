"""The rungs of the ladder: by which effect each component proves that it works.

What a template already contains says nothing about the processes that run now, so each proof makes a component do its
work in a corner that no test looks at, and takes its object away again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import ProvisionError
from pytest_kina.providers.embedded import components, readiness
from pytest_kina.providers.embedded.readiness import Ladder
from pytest_kina.providers.embedded.templates import Template
from pytest_kina.spec import ClusterSpec
from pytest_kina.waiting import Probe

_SOON = 0.005
"""Seconds between two looks while nothing else can go on."""

_CANARY = "kina-canary"
_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_PODS = "/api/v1/namespaces/kube-public/pods"
_CORNER = "kube-node-lease"
_MADE_BY_HOOKS = (
    "/api/v1/namespaces/default",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
    "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
)


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proofs of one start; ``admin`` asks as the administrator, ``ca`` is the authority of the API server.

    ``heeds_content``: the user's manifests and what the bootstrap function made are there already.

    Each raises :class:`~pytest_kina.errors.NotReadyError` at the deadline, or as soon as a component has exited.
    """

    ladder: Ladder
    admin: Probe
    ca: Path
    spec: ClusterSpec
    heeds_content: bool = False

    def server_is_ready(self, *, bootstrapped: bool) -> None:
        """The API server is ready; all but its hooks, where what they make was there before it, which is read."""
        if bootstrapped:
            self._server("the API server is usable", readiness.USABLE)
            for path in _MADE_BY_HOOKS:
                self._server(f"{path} is there", path)
        else:
            self.hooks_are_done()
            self._server("the namespace default exists", "/api/v1/namespaces/default")

    def service_is_there(self) -> None:
        """The API server's own service, which it makes in its own time, and which nobody has added or lost later."""
        self._server("the service kubernetes exists", "/api/v1/namespaces/default/services/kubernetes")

    def is_made_of(self, template: Template) -> None:
        """What the API server serves is the template's. Raises :class:`ProvisionError`."""
        if (found := self.uid()) != template.uid:
            raise ProvisionError(
                f"the namespace default has the uid {found}, the template {template.key} holds {template.uid}"
            )

    def uid(self) -> str:
        """The uid of the namespace ``default``: no other cluster has it, except those of the same template."""
        with self.ladder.step("the namespace default is read", components.API_SERVER):
            _, body = self.admin.get("/api/v1/namespaces/default")
        return str(json.loads(body)["metadata"]["uid"])

    def hooks_are_done(self) -> None:
        """All of ``/readyz``."""
        self.ladder.climb(
            "/readyz is ok",
            components.API_SERVER,
            lambda: readiness.exists(self.admin, "/readyz"),
            explain=lambda: readiness.failed_checks(self.admin),
        )

    def roles_are_known(self, scheduler: Probe) -> None:
        """The scheduler has its rights: refused once, it would not ask again for seconds."""
        self.ladder.climb(
            "the scheduler may read pods",
            components.API_SERVER,
            lambda: readiness.exists(scheduler, "/api/v1/pods?limit=1"),
            interval=_SOON,
        )

    def objects_can_be_written(self) -> None:
        """An object can be created, read and deleted."""
        self.ladder.climb("an object can be written", components.API_SERVER, self._writes)

    def take_away(self) -> None:
        """Remove from one namespace what only a working controller-manager can bring back.

        Raises :class:`ProvisionError` when the API server refuses.
        """
        for path in _made_by_controllers(_CORNER):
            with self.ladder.step("what controllers make is taken away", components.API_SERVER):
                status, body = self.admin.request("DELETE", path)
            if status not in (200, 404) and not self._may_refuse(status):
                raise ProvisionError(f"{path} could not be deleted: {status}: {body.decode(errors='replace')}")

    def controllers_work(self) -> None:
        """Namespaces have their service account and the current root certificate, also where they were taken away."""
        self.ladder.climb(
            "namespaces get their service account and the cluster's root certificate",
            components.CONTROLLER_MANAGER,
            lambda: all(self._is_furnished(namespace) for namespace in ("default", _CORNER)),
        )

    def nodes_are_ready(self) -> None:
        """All simulated nodes are Ready and take pods."""
        count = self.spec.simulated_nodes
        self.ladder.climb(
            "all nodes are ready",
            components.KWOK,
            lambda: not readiness.unready_nodes(self.admin, count),
            explain=lambda: "\n".join(readiness.unready_nodes(self.admin, count)),
        )

    def pods_run(self) -> None:
        """A pod has been scheduled and runs; nothing to prove without nodes."""
        if self.spec.simulated_nodes:
            self.ladder.climb("a pod runs", components.SCHEDULER, self._pod_runs)

    def namespaces_can_be_listed(self) -> None:
        """What a user asks first."""
        self._server("the administrator can list namespaces", "/api/v1/namespaces")

    def _server(self, rung: str, path: str) -> None:
        self.ladder.climb(rung, components.API_SERVER, lambda: readiness.exists(self.admin, path), interval=_SOON)

    def _writes(self) -> bool:
        body = json.dumps({"metadata": {"name": _CANARY}}).encode()
        created, _ = self.admin.request("POST", _CONFIG_MAPS, body)
        if self._may_refuse(created):
            return True
        read, _ = self.admin.get(f"{_CONFIG_MAPS}/{_CANARY}")
        deleted, _ = self.admin.request("DELETE", f"{_CONFIG_MAPS}/{_CANARY}")
        return (created, read, deleted) == (201, 200, 200)

    def _is_furnished(self, namespace: str) -> bool:
        account, root = (self.admin.get(path) for path in _made_by_controllers(namespace))
        if account[0] != 200 or root[0] != 200:
            return False
        held: str = json.loads(root[1])["data"].get("ca.crt", "")
        return held.strip() == self.ca.read_text().strip()

    def _may_refuse(self, status: int) -> bool:
        """Whether a policy or a webhook of the user's content may be why the API server answered with ``status``.

        Then this proof cannot be had, and the server has shown at least that it heeds the content.
        """
        return self.heeds_content and status in (400, 403, 422, 500)

    def _pod_runs(self) -> bool:
        """Created at the first look, deleted after the last."""
        path = f"{_PODS}/{_CANARY}"
        status, body = self.admin.get(path)
        if status == 404:
            spec = {"containers": [{"name": "canary", "image": "registry.invalid/canary"}]}
            created = {"metadata": {"name": _CANARY}, "spec": spec}
            status, _ = self.admin.request("POST", _PODS, json.dumps(created).encode())
            return self._may_refuse(status)
        if status != 200 or json.loads(body)["status"].get("phase") != "Running":
            return False
        self.admin.request("DELETE", f"{path}?gracePeriodSeconds=0")
        return not readiness.exists(self.admin, path)


def _made_by_controllers(namespace: str) -> tuple[str, str]:
    inside = f"/api/v1/namespaces/{namespace}"
    return f"{inside}/serviceaccounts/default", f"{inside}/configmaps/kube-root-ca.crt"
