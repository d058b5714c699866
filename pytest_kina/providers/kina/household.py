"""What one kina cluster has of its own: a home, temporary files, a configuration, and a shim where one is needed.

kina rewrites ``~/.kube/config`` without a lock, switches its current context and leaves it dangling, and a cluster
called ``config`` even deletes it. With a HOME of its own it does all this to a file that nobody reads.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.files import private_directory, write_atomic
from pytest_kina.process import CommandResult, run_command
from pytest_kina.providers.containers.programs import plain_environment
from pytest_kina.providers.kina.tools import Tools

# Every table with its mandatory keys: kina refuses a file that lacks one (config/mod.rs of 0.2.0).
_CONFIGURATION = """\
[cluster]
default_name = "kina"
default_image = "kindest/node:v1.36.1"
default_wait_timeout = 60
data_dir = {data}
retain_on_failure = false
default_cni = "Ptp"

[apple_container]
cli_path = {container}

[apple_container.runtime_config]

[apple_container.network]
network_name = "kina"
enable_ipv6 = false
dns_servers = []

[kubernetes]
default_version = "v1.36.1"
default_namespace = "default"
kubeconfig_dir = {kubeconfigs}

[logging]
level = "info"
format = "text"
file_logging = false
"""

_SHIM = """\
#!/bin/sh
# kina 0.2.0 knows no flag that keeps /proc/sys writable in a node; `container` 1.2.1 and later need two.
if [ "$1" = run ]; then
    shift
    exec {container} run --masked-path NONE --read-only-path NONE "$@"
fi
exec {container} "$@"
"""


@dataclass(frozen=True, slots=True)
class Household:
    """The home of one cluster, below its own directory."""

    directory: Path
    tools: Tools

    @property
    def home(self) -> Path:
        """What kina takes for the user's home."""
        return self.directory / "home"

    def furnish(self) -> None:
        """Make what kina needs. Raises :class:`OSError`."""
        for folder in (self._temporary, self.home / ".kube", self._configuration.parent):
            private_directory(folder)
        container = self.tools.apple.program
        if self.tools.apple.masks:
            quoted = shlex.quote(str(container))
            container = self.home / "container"
            write_atomic(container, _SHIM.format(container=quoted).encode(), mode=0o700)
        values = {"data": self.home / "data", "container": container, "kubeconfigs": self.home / ".kube"}
        # JSON's strings are TOML's, too.
        text = _CONFIGURATION.format(**{key: json.dumps(str(path)) for key, path in values.items()})
        write_atomic(self._configuration, text.encode())

    def kina(self, *arguments: str, timeout: float, check: bool = True) -> CommandResult:
        """Run kina quietly; ``timeout`` in seconds. Raises :class:`CommandError`."""
        private = {"HOME": str(self.home), "TMPDIR": str(self._temporary)}
        return run_command(
            [self.tools.kina, "-q", *arguments], timeout=timeout, env=plain_environment(private), check=check
        )

    def kubeconfig(self, cluster: str) -> str:
        """What kina wrote for the cluster; empty when it wrote nothing."""
        try:
            return (self.home / ".kube" / cluster).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def _temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def _configuration(self) -> Path:
        return self.home / ".config" / "kina" / "config.toml"
