"""The files of one embedded cluster, by name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_kina import _supervisor


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
    def logs(self) -> Path:
        """One log per component."""
        return self.directory / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def assets(self) -> Path:
        """Paths and versions of the binaries that the cluster runs."""
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

    def log(self, component: str) -> Path:
        """The log of one component."""
        return self.logs / f"{component}.log"

    def wipe(self) -> None:
        """Remove all that a start makes; only ``assets.json`` and what others put here stays."""
        for folder in (self.data, self.pki, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.kubeconfig, self.identity, self.died, self.stop):
            file.unlink(missing_ok=True)

    def make(self) -> None:
        """Create the empty folders, private whatever the umask is. Raises :class:`OSError`."""
        for folder in (self.data, self.pki, self.logs):
            folder.mkdir(mode=0o700)
