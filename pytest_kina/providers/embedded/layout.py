"""The files of one embedded cluster, by name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_kina import _supervisor
from pytest_kina.cluster.simulating.kwok import STAGES_FILE

ETCD_SOCKET, ETCD_PEER_SOCKET = "etcd.sock", "etcd-peer.sock"
"""In the cluster's directory, which is the working directory of its programs: a socket's whole path may be too long."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below a cluster's directory; nothing else knows their names.

    ``assets.json`` says which binaries the cluster runs, so that whoever resets it starts the same ones.
    """

    directory: Path

    @property
    def pki(self) -> Path:
        """Authorities, certificates, keys, and the components' kubeconfigs."""
        return self.directory / "pki"

    @property
    def data(self) -> Path:
        """What etcd stores."""
        return self.directory / "data"

    @property
    def etcd(self) -> Path:
        """The data directory of etcd."""
        return self.data / "etcd"

    @property
    def etcd_socket(self) -> Path:
        """Where etcd answers; only who may enter the directory can connect."""
        return self.directory / ETCD_SOCKET

    @property
    def gate(self) -> Path:
        """What holds kube-controller-manager's credential back."""
        return self.pki / "gate"

    @property
    def work(self) -> Path:
        """What becomes a template, or comes out of one; gone afterwards."""
        return self.directory / "template"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.directory / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def assets(self) -> Path:
        """Binaries and template that the cluster is made of."""
        return self.directory / "assets.json"

    @property
    def identity(self) -> Path:
        """Pid and start of the supervisor; written by itself."""
        return self.directory / _supervisor.IDENTITY_FILE

    @property
    def died(self) -> Path:
        """Which component's exit ended the cluster; written by the supervisor."""
        return self.directory / _supervisor.DIED_FILE

    @property
    def stop(self) -> Path:
        """Its existence tells the supervisor to end."""
        return self.directory / _supervisor.STOP_FILE

    @property
    def simulated(self) -> Path:
        """The stages of simulations that tests have asked for; at the start of a cluster there are none."""
        return self.directory / STAGES_FILE

    @property
    def inventory(self) -> Path:
        """What the cluster held when it was ready, for a reset by sweeping."""
        return self.directory / "inventory.json"

    @property
    def restart(self) -> tuple[Path, Path]:
        """The order to start a component again, and its answer."""
        return self.directory / _supervisor.RESTART_FILE, self.directory / _supervisor.RESTARTED_FILE

    def log(self, component: str) -> Path:
        """The log of one component."""
        return self.logs / f"{component}.log"

    def wipe(self) -> None:
        """Remove all that a start makes; only ``assets.json`` and what others put here stays."""
        for folder in (self.data, self.pki, self.logs, self.work):
            shutil.rmtree(folder, ignore_errors=True)
        files = (self.kubeconfig, self.identity, self.died, self.stop, self.simulated, self.inventory, *self.restart)
        for file in (*files, self.etcd_socket, self.directory / ETCD_PEER_SOCKET):
            file.unlink(missing_ok=True)

    def make(self) -> None:
        """Create the empty folders, private whatever the umask is. Raises :class:`OSError`."""
        for folder in (self.data, self.pki, self.logs):
            folder.mkdir(mode=0o700)
        self.simulated.touch(mode=0o600)
