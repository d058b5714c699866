"""From an empty directory to a ready cluster: the sequence, in the order in which it happens."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pytest_kina.process import environment
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import components, credentials, nodes, templates
from pytest_kina.providers.embedded.components import Component
from pytest_kina.providers.embedded.gate import Gate
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link
from pytest_kina.providers.embedded.proofs import Proofs
from pytest_kina.providers.embedded.readiness import Ladder
from pytest_kina.providers.embedded.recipe import Recipe
from pytest_kina.providers.embedded.sockets import SocketProbe
from pytest_kina.spec import ClusterSpec
from pytest_kina.waiting import Deadline, Probe

# A proxy of the user is for the world outside; between local processes it could only get in the way.
_ENVIRONMENT = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")


class Start:
    """One start of one cluster; its steps are called in their order.

    Each step raises :class:`~pytest_kina.errors.ProvisionError`, :class:`OSError` or
    :class:`~pytest_kina.providers.embedded.link.LinkBroken`.
    """

    def __init__(self, spec: ClusterSpec, place: Place, recipe: Recipe, deadline: Deadline) -> None:
        """Clear the place and start the supervisor."""
        self._spec = spec
        self._name = place.name
        self._recipe = recipe
        self._deadline = deadline
        self._template: templates.Template | None = None
        self._layout = Layout(place.directory)
        self._layout.wipe()
        self._layout.make()
        self.link = Link(place, self._layout.log("supervisor"))
        self._ladder = Ladder(place.name, self._layout, self.link, deadline)

    def fill(self, template: templates.Template | None) -> str:
        """Data and keys, while the supervisor's interpreter starts; returns ``template`` or ``fresh``."""
        if template is not None and template.unpack(self._layout):
            self._template = template
        credentials.create(self._layout)
        return "template" if self._template else "fresh"

    def launch(self) -> None:
        """Until the API server answers TLS. It starts together with etcd, and asks until that answers."""
        self._api_port = self.link.reserve(["api"], self._deadline)["api"]
        self._write_kubeconfigs()
        self._spawn(components.etcd(self._layout))
        self._spawn(components.api_server(self._spec, self._layout, self._api_port))
        with closing(SocketProbe(self._layout.etcd_socket)) as etcd:
            self._ladder.handshake(self._api_port, etcd)

    def settle(self) -> None:
        """Until the cluster is ready, proven by what it does."""
        with closing(self._client(credentials.ADMIN)) as admin:
            prove = self._proofs(admin)
            if self._spec.profile == "workloads":
                self._settle_workloads(prove, admin)
            else:
                prove.server_is_ready(bootstrapped=self._template is not None)
            prove.objects_can_be_written()
            if self._template:
                prove.is_made_of(self._template)
            else:  # before a template or an inventory is made of it
                prove.service_is_there()

    def _settle_workloads(self, prove: Proofs, admin: Probe) -> None:
        with Gate(self._layout.gate) as gate:
            self._spawn(components.kwok(self._layout))  # now: it gives up for a second when nobody answers
            self._spawn(components.controller_manager(self._spec, self._layout))  # comes as far as the gate
            prove.server_is_ready(bootstrapped=self._template is not None)
            with closing(self._client(components.SCHEDULER)) as scheduler:
                prove.roles_are_known(scheduler)
            self._spawn(components.scheduler(self._spec, self._layout))
            if self._template:
                prove.take_away()
                prove.pods_run()  # all that they need is there, while the API server's hooks sleep for a second
                prove.hooks_are_done()
            gate.open(self._layout.pki, components.CONTROLLER_MANAGER)
        if not self._template:
            with self._ladder.step("the nodes are created", components.API_SERVER):
                nodes.create(admin, self._name, self._spec.simulated_nodes)
        prove.controllers_work()
        prove.nodes_are_ready()
        if not self._template:
            prove.pods_run()

    def prove_access(self) -> None:
        """Until the first list that an administrator asks for, through the kubeconfig, has succeeded."""
        self._api_port = credentials.api_port(self._layout.kubeconfig)
        with closing(self._client(credentials.ADMIN)) as admin:
            self._proofs(admin).namespaces_can_be_listed()

    def finish(self) -> None:
        """Until the API server's hooks have made all that they make."""
        with closing(self._client(credentials.ADMIN)) as admin:
            self._proofs(admin).hooks_are_done()

    def keep_template(self, etcdutl: Path) -> None:
        """Make a template of the cluster, which nobody has used yet.

        Raises :class:`~pytest_kina.errors.KinaError` and :class:`OSError`.
        """
        with closing(SocketProbe(self._layout.etcd_socket)) as etcd, closing(self._client(credentials.ADMIN)) as admin:
            origin = templates.Origin(
                layout=self._layout,
                etcd=etcd,
                etcdutl=etcdutl,
                uid=self._proofs(admin).uid(),
                spec=self._spec,
                kubernetes=self._recipe.versions.get("kubernetes", self._spec.version),
            )
            templates.keep(self._recipe.template, origin, self._deadline)

    def _proofs(self, admin: Probe) -> Proofs:
        ca = self._layout.pki / "serving-ca.crt"
        return Proofs(self._ladder, admin, ca, self._spec, heeds_content=self._spec.content and self.is_whole)

    @property
    def is_whole(self) -> bool:
        """Whether the cluster is made of a template that has the content of its spec, and nothing is to be added."""
        return self._template is not None and self._template.directory == self._recipe.template

    def _write_kubeconfigs(self) -> None:
        layout = self._layout
        for client in credentials.CLIENTS:
            path = layout.kubeconfig if client == credentials.ADMIN else components.kubeconfig(layout, client)
            gate = layout.gate if client == components.CONTROLLER_MANAGER else None
            credentials.write_kubeconfig(path, layout, self._name, client, self._api_port, gate=gate)

    def _client(self, client: str) -> Probe:
        pki = self._layout.pki
        return Probe("127.0.0.1", self._api_port, ca=pki / "serving-ca.crt", certificate=pki / f"{client}.pem")

    def _spawn(self, component: Component) -> None:
        common = {name: value for name, value in environment().items() if name in _ENVIRONMENT}
        argv = component.argv(self._recipe.paths[component.name])
        env = common | dict(component.environment)
        log = self._layout.log(component.name)
        self.link.spawn(component.name, argv, env, log, self._deadline, stateless=component.stateless)
