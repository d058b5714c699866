"""The processes of a cluster as data: which program, with which flags, and why each flag is there.

The flags are the same for Kubernetes 1.34, 1.35 and 1.36, and for etcd 3.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_kina.certificates import CLIENT_CA
from pytest_kina.errors import SpecError
from pytest_kina.providers.embedded.credentials import SERVICE_RANGE
from pytest_kina.providers.embedded.layout import ETCD_PEER_SOCKET, ETCD_SOCKET, Layout
from pytest_kina.spec import ClusterSpec

STAGES = Path(__file__).with_name("stages.yaml")
"""What kwok does to nodes and pods."""

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"

PROFILES: Mapping[str, tuple[str, ...]] = {
    "api": (ETCD, API_SERVER),
    "workloads": (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, KWOK),
}

API_SERVER_GOGC = "400"
"""With Go's default a quarter of the time to the first answer is garbage collection."""

API_SERVER_SETTLES_AFTER = "700ms"
"""Then, about when it answers, one that we built (kube_server/main.go) collects as usual and returns memory."""

# Clients of the API server: no second instance to elect against, no port of their own, no throttling by themselves.
_CLIENT_FLAGS = {
    "leader-elect": "false",
    "secure-port": "0",
    "kube-api-qps": "5000",
    "kube-api-burst": "10000",
}

# They need a cloud, or a network of nodes.
_NO_CONTROLLERS = (
    "service-lb-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "node-ipam-controller",
)


@dataclass(frozen=True, slots=True)
class Component:
    """A program to run: ``name`` is also the binary's; ``environment`` is added to the common one.

    A ``stateless`` one keeps nothing that a new start would not find in the API, and may be started again.
    """

    name: str
    flags: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...] = field(default=())
    stateless: bool = False

    def argv(self, program: Path) -> list[str]:
        """The command line."""
        return [str(program), *(f"--{flag}={value}" for flag, value in self.flags)]


def etcd(layout: Layout) -> Component:
    """The store, on sockets in the cluster's directory, which nobody else can enter.

    Without TLS the API server answers a fifth earlier than it does with an etcd behind certificates: it opens a
    connection for each kind of object.
    """
    return _component(
        ETCD,
        {
            "data-dir": layout.etcd,
            "listen-client-urls": f"unix://{ETCD_SOCKET}",
            "listen-peer-urls": f"unix://{ETCD_PEER_SOCKET}",
            "advertise-client-urls": "http://127.0.0.1:1",  # a name for the list of members, where nobody looks
            "unsafe-no-fsync": "true",  # the data is worth nothing after a crash
            "heartbeat-interval": "10",  # with the next one: the election takes 70 ms instead of 600
            "election-timeout": "100",
            "log-level": "error",
        },
    )


def api_server(spec: ClusterSpec, layout: Layout, port: int) -> Component:
    """kube-apiserver with the user's arguments. Raises :class:`SpecError` for one that is ours."""
    ours = _api_server_flags(layout, port)
    if spec.profile == "api":
        ours["disable-admission-plugins"] = "ServiceAccount"  # no controller makes the accounts that it asks for
    defaults = {name: ours.pop(name) for name in _API_SERVER_DEFAULTS if name in ours}
    wanted = dict(_normalised(spec.api_server_args))
    if taken := sorted(wanted.keys() & (ours.keys() | _NOBODYS)):
        raise SpecError(
            f"api_server_args may not set {', '.join(taken)}: the embedded provider needs its own value",
            next_step="remove it (feature gates have a key of their own: feature_gates); every flag may be set but "
            + ", ".join(sorted(ours)),
        )
    flags = ours | defaults | wanted | _feature_gates(spec)
    return _component(API_SERVER, flags, GOGC=API_SERVER_GOGC, KINA_SETTLE_AFTER=API_SERVER_SETTLES_AFTER)


# Gates have a key of their own, and etcd's sockets no certificates.
_NOBODYS = {"feature-gates", "etcd-cafile", "etcd-certfile", "etcd-keyfile"}

# Ours unless the user says otherwise; every other flag of ours is not to be changed.
_API_SERVER_DEFAULTS = (
    "allow-privileged",
    "authorization-mode",
    "delete-collection-workers",
    "disable-admission-plugins",
    "enable-priority-and-fairness",
    "max-mutating-requests-inflight",
    "max-requests-inflight",
    "profiling",
    "shutdown-watch-termination-grace-period",
)


def _api_server_flags(layout: Layout, port: int) -> dict[str, str | Path]:
    return {
        "etcd-servers": f"unix://{ETCD_SOCKET}",
        "bind-address": "127.0.0.1",
        "secure-port": str(port),
        "permit-port-sharing": "true",  # shares the reserved port with the supervisor
        "advertise-address": "127.0.0.1",  # or it would not start without a default route
        "endpoint-reconciler-type": "none",  # loopback is no legal endpoint
        "service-cluster-ip-range": SERVICE_RANGE,  # small: its allocator is checked at start
        "tls-cert-file": layout.pki / "kube-apiserver.crt",
        "tls-private-key-file": layout.pki / "kube-apiserver.key",
        "client-ca-file": layout.pki / f"{CLIENT_CA}.crt",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": layout.pki / "service-accounts.pub",
        "service-account-signing-key-file": layout.pki / "service-accounts.key",
        "authorization-mode": "RBAC",
        "allow-privileged": "true",  # manifests of operators ask for it
        "enable-priority-and-fairness": "false",  # with the next two: no limits, and one start hook less
        "max-requests-inflight": "0",
        "max-mutating-requests-inflight": "0",
        "delete-collection-workers": "4",
        "shutdown-watch-termination-grace-period": "2s",
        "profiling": "false",
    }


def controller_manager(spec: ClusterSpec, layout: Layout) -> Component:
    """kube-controller-manager with every controller that makes sense without a cloud."""
    return _component(
        CONTROLLER_MANAGER,
        {
            "kubeconfig": kubeconfig(layout, CONTROLLER_MANAGER),
            **_CLIENT_FLAGS,
            "use-service-account-credentials": "false",
            "root-ca-file": layout.pki / "serving-ca.crt",
            "service-account-private-key-file": layout.pki / "service-accounts.key",
            "cluster-signing-cert-file": layout.pki / f"{CLIENT_CA}.crt",  # CertificateSigningRequests are signed
            "cluster-signing-key-file": layout.pki / f"{CLIENT_CA}.key",
            "node-monitor-grace-period": "10h",  # a laptop that slept must not lose its simulated nodes
            "controllers": ",".join(("*", *(f"-{name}" for name in _NO_CONTROLLERS))),
            **_feature_gates(spec),
        },
    )


def scheduler(spec: ClusterSpec, layout: Layout) -> Component:
    """kube-scheduler with the default profile."""
    return _component(SCHEDULER, {"kubeconfig": kubeconfig(layout, SCHEDULER), **_CLIENT_FLAGS, **_feature_gates(spec)})


def kwok(layout: Layout) -> Component:
    """The kubelet of all nodes; without leases, since nobody waits for heartbeats."""
    usual = _component(
        KWOK,
        {
            "kubeconfig": kubeconfig(layout, KWOK),
            "config": f'"{STAGES}","{layout.simulated}"',  # quoted, since a comma would end a path
            "manage-all-nodes": "true",
            "node-lease-duration-seconds": "0",
        },
    )
    return replace(usual, stateless=True)


def kubeconfig(layout: Layout, component: str) -> Path:
    """Where the kubeconfig of a component is."""
    return layout.pki / f"{component}.kubeconfig"


def _component(name: str, flags: Mapping[str, str | Path], **environment: str) -> Component:
    pairs = tuple((flag, str(value)) for flag, value in flags.items())
    return Component(name, pairs, tuple(environment.items()))


def _normalised(arguments: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name.lstrip("-"), value) for name, value in arguments)


def _feature_gates(spec: ClusterSpec) -> dict[str, str]:
    gates = ",".join(f"{name}={'true' if on else 'false'}" for name, on in spec.feature_gates)
    return {"feature-gates": gates} if gates else {}
