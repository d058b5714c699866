"""Mirrors of image registries: where we pull from instead, and what a node's containerd is told to do the same.

Formats: containerd's ``hosts.toml`` (docs/hosts.md of containerd 1.5 and later) and k3s's ``registries.yaml`` (k3s
documentation, "Private Registry Configuration"). Both try the registry itself last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_kina.files import private_directory, write_atomic
from pytest_kina.providers.containers.archives import full_reference

_PLAIN = "http://"
_HOSTS = """\
[host."{scheme}{host}/v2{path}"]
  capabilities = ["pull", "resolve"]
  override_path = true
"""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """By registry (``docker.io``) what stands for it in a reference: ``mirror.example.com/dockerhub``.

    ``http://`` before it says that the mirror has no TLS.
    """

    of: Mapping[str, str] = field(default_factory=dict)

    def reference(self, image: str) -> str:
        """``image``, or where its registry has a mirror its full reference there."""
        registry, _, rest = full_reference(image).partition("/")
        return f"{self.of[registry].removeprefix(_PLAIN)}/{rest}" if registry in self.of else image

    def plain(self, reference: str) -> bool:
        """Whether ``reference`` is at a mirror without TLS."""
        plain = [mirror.removeprefix(_PLAIN) for mirror in self.of.values() if mirror.startswith(_PLAIN)]
        return reference.partition("/")[0] in [mirror.partition("/")[0] for mirror in plain]

    def write_hosts(self, folder: Path) -> Path:
        """``hosts.toml`` of every registry below ``folder``, which may become a node's ``/etc/containerd/certs.d``."""
        for registry, mirror in self.of.items():
            scheme, host, path = _parts(mirror)
            text = _HOSTS.format(scheme=scheme, host=host, path=f"/{path}" if path else "")
            write_atomic(private_directory(private_directory(folder) / registry) / "hosts.toml", text.encode())
        return folder

    def registries(self) -> dict[str, Any]:
        """The content of k3s's ``registries.yaml``."""
        return {"mirrors": {registry: _endpoint(mirror) for registry, mirror in self.of.items()}}


def _endpoint(mirror: str) -> dict[str, Any]:
    scheme, host, path = _parts(mirror)
    return {"endpoint": [f"{scheme}{host}"], **({"rewrite": {"^(.*)$": f"{path}/$1"}} if path else {})}


def _parts(mirror: str) -> tuple[str, str, str]:
    """Scheme (``https://``), host and path."""
    host, _, path = mirror.removeprefix(_PLAIN).partition("/")
    return _PLAIN if mirror.startswith(_PLAIN) else "https://", host, path
