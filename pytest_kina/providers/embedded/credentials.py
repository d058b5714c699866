"""The keys and certificates of one start of a cluster, and the kubeconfigs made of them.

Two authorities: one signs what the API server shows, one signs what its clients show. (etcd needs neither: its sockets
are in a directory that nobody else can enter.) A client's key can sign nothing, and every start and reset makes the
authority of clients and the signer of tokens anew, so that no credential of the time before is believed afterwards. The
authority of the server may come from a template.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from pytest_kina.certificates import CLIENT_CA, Authority, create_signer
from pytest_kina.files import write_atomic
from pytest_kina.providers.embedded.gate import plugin
from pytest_kina.providers.embedded.layout import Layout

ADMIN = "kina-admin"
SERVING_CA = "serving-ca"
MASTERS = "system:masters"
SERVICE_RANGE = "10.0.0.0/24"

_API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
    "10.0.0.1",  # the first address of SERVICE_RANGE is the service `kubernetes`
)

# User and groups of each client. The scheduler's bootstrap role is enough for it; the controller-manager runs all
# its loops as itself, and kwok has no role of its own.
CLIENTS = {
    ADMIN: (ADMIN, (MASTERS,)),
    "kube-controller-manager": ("system:kube-controller-manager", (MASTERS,)),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kwok": ("system:kwok", (MASTERS,)),
}


def create(layout: Layout) -> None:
    """Make all keys and certificates in ``layout.pki``, except a serving authority that is there already.

    A template brings one, because every namespace in it has that certificate. Raises :class:`OSError`.
    """
    known = (layout.pki / f"{SERVING_CA}.key").exists()
    serving = (Authority.load if known else Authority.create)(layout.pki, SERVING_CA)
    serving.server(layout.pki, "kube-apiserver", _API_NAMES)
    clients = Authority.create(layout.pki, CLIENT_CA)
    for name, (user, groups) in CLIENTS.items():
        clients.client(layout.pki, name, user, groups)
    create_signer(layout.pki, "service-accounts")


def write_kubeconfig(
    path: Path, layout: Layout, cluster: str, client: str, port: int, *, gate: Path | None = None
) -> None:
    """Write the kubeconfig (JSON, which is YAML too) of ``client``. Raises :class:`OSError`.

    It is complete in itself, unless its credential is to come through ``gate``.
    """
    user = plugin(gate) if gate else _pair(layout.pki, client)
    server = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": _encoded(layout.pki / f"{SERVING_CA}.crt"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": client}}],
        "current-context": cluster,
    }
    write_atomic(path, json.dumps(document, indent=1).encode() + b"\n")


def _pair(pki: Path, client: str) -> dict[str, object]:
    return {
        "client-certificate-data": _encoded(pki / f"{client}.crt"),
        "client-key-data": _encoded(pki / f"{client}.key"),
    }


def api_port(kubeconfig: Path) -> int:
    """The API server's port, as its kubeconfig has it. Raises :class:`OSError` and :class:`ValueError`."""
    try:
        server: str = json.loads(kubeconfig.read_bytes())["clusters"][0]["cluster"]["server"]
    except (LookupError, TypeError) as error:
        raise ValueError(f"{kubeconfig} is not a kubeconfig of ours") from error
    return int(server.rpartition(":")[2])


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
