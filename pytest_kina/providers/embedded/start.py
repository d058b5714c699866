"""From an empty directory to a ready cluster: the sequence, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pytest_kina.process import environment
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import components, credentials, nodes, readiness
from pytest_kina.providers.embedded.components import Component
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link
from pytest_kina.providers.embedded.readiness import Ladder
from pytest_kina.spec import ClusterSpec
from pytest_kina.waiting import Deadline, Probe

# A proxy of the user is for the world outside; between local processes it could only get in the way.
_ENVIRONMENT = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")


class Start:
    """One start of one cluster; its three steps are called in their order.

    ``programs`` has the binary of each component. Each step raises
    :class:`~pytest_kina.errors.ProvisionError`, :class:`OSError` or
    :class:`~pytest_kina.providers.embedded.link.LinkBroken`.
    """

    def __init__(self, spec: ClusterSpec, place: Place, programs: Mapping[str, Path], timeout: float) -> None:
        """Clear the place and start the supervisor."""
        self._spec = spec
        self._name = place.name
        self._programs = programs
        self._deadline = Deadline(timeout)
        self._layout = Layout(place.directory)
        self._layout.wipe()
        self._layout.make()
        self.link = Link(place, self._layout.log("supervisor"))
        self._ladder = Ladder(place.name, self._layout, self.link, self._deadline)

    def launch(self) -> None:
        """Until the API server answers TLS."""
        pki = self._layout.pki
        credentials.create(self._layout)
        ports = self.link.reserve(["etcd", "api"], self._deadline)
        self._api_port = ports["api"]
        self._write_kubeconfigs()
        self._spawn(components.etcd(self._layout, ports["etcd"]))
        self._spawn(components.api_server(self._spec, self._layout, ports["api"], ports["etcd"]))
        etcd = Probe("127.0.0.1", ports["etcd"], ca=pki / "etcd-ca.crt", certificate=pki / "etcd-client.pem")
        with closing(etcd):
            self._ladder.climb("etcd is healthy", components.ETCD, lambda: readiness.etcd_is_healthy(etcd))
        self._ladder.handshake(
            "the API server answers TLS", components.API_SERVER, self._api_port, pki / "serving-ca.crt"
        )

    def settle(self) -> None:
        """Until the cluster is ready, proven by what can be read from it."""
        workloads = self._spec.profile == "workloads"
        if workloads:
            self._spawn(components.kwok(self._layout))  # now: it gives up for a second when nobody answers
        with closing(self._probe()) as probe:
            self._wait_for_server(probe)
            if workloads:
                self._spawn(components.controller_manager(self._spec, self._layout))
                self._spawn(components.scheduler(self._spec, self._layout))
                nodes.create(probe, self._name, self._spec.simulated_nodes)
            self._ladder.climb(
                "the namespace default exists",
                components.API_SERVER,
                lambda: readiness.exists(probe, "/api/v1/namespaces/default"),
            )
            if workloads:
                self._wait_for_controllers(probe)

    def _wait_for_server(self, probe: Probe) -> None:
        self._ladder.climb(
            "/readyz is ok",
            components.API_SERVER,
            lambda: readiness.exists(probe, "/readyz"),
            explain=lambda: readiness.failed_checks(probe),
        )

    def _wait_for_controllers(self, probe: Probe) -> None:
        self._ladder.climb(
            "default has its service account and the cluster's root certificate",
            components.CONTROLLER_MANAGER,
            lambda: readiness.has_root_ca(probe, self._layout.pki / "serving-ca.crt"),
        )
        self._ladder.climb(
            "all nodes are ready",
            components.KWOK,
            lambda: not readiness.unready_nodes(probe),
            explain=lambda: "\n".join(readiness.unready_nodes(probe)),
        )

    def prove_access(self) -> None:
        """Until the first list that an administrator asks for, through the kubeconfig, has succeeded."""
        self._api_port = credentials.api_port(self._layout.kubeconfig)
        with closing(self._probe()) as probe:
            self._ladder.climb(
                "the administrator can list namespaces",
                components.API_SERVER,
                lambda: readiness.exists(probe, "/api/v1/namespaces"),
            )

    def _write_kubeconfigs(self) -> None:
        for client in credentials.CLIENTS:
            path = self._layout.kubeconfig if client == credentials.ADMIN else self._component_kubeconfig(client)
            credentials.write_kubeconfig(path, self._layout, self._name, client, self._api_port)

    def _component_kubeconfig(self, component: str) -> Path:
        return components.kubeconfig(self._layout, component)

    def _probe(self) -> Probe:
        pki = self._layout.pki
        ca, certificate = pki / "serving-ca.crt", pki / f"{credentials.ADMIN}.pem"
        return Probe("127.0.0.1", self._api_port, ca=ca, certificate=certificate)

    def _spawn(self, component: Component) -> None:
        common = {name: value for name, value in environment().items() if name in _ENVIRONMENT}
        argv = component.argv(self._programs[component.name])
        env = common | dict(component.environment)
        self.link.spawn(component.name, argv, env, self._layout.log(component.name), self._deadline)
