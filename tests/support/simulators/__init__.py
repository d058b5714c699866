"""A simulated machine of a user: container tools, with machines, images and faults of its own.

The tools are programs of their own that obey the contract of the real ones row by row, and refuse what it does not list.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pytest_kina.certificates import Authority
from tests.support.simulators import _tools

packed = _tools.image_files.pack
"""The bytes of an image archive, from digests by reference."""

HERE = Path(__file__).parent
TOOLS = ("container", "kina", "kubectl", "docker", "kind", "k3d")


class Host:
    """One simulated machine of a user, with tools on its PATH (``bin``).

    ``scale`` multiplies the real tools' sleeps, ``runtime`` says what stands behind a node: ``instant`` or ``real``.
    ``bridged``: containers' addresses are reached from the host; ``plain_registries`` have no TLS, ``insecure_registries``
    are those of which docker's daemon was told so.
    """

    def __init__(self, directory: Path, *, tools: tuple[str, ...] = TOOLS, **settings: Any) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.bin = directory / "bin"
        self.home = directory / "home"
        for folder in (self.state, self.bin, self.home / ".kube"):
            folder.mkdir(parents=True, exist_ok=True)
        token = hashlib.sha256(str(directory).encode()).digest()
        self.network = f"127.{64 + token[0] % 64}.{token[1]}"
        packages = str(Path(yaml.__file__).parents[1])
        self.set(**{**_DEFAULTS, "network": self.network, "packages": packages, **settings})
        self._make_keys()
        for tool in tools:
            self.install(tool)

    def install(self, tool: str, bin_directory: Path | None = None) -> Path:
        """Put a tool on the PATH."""
        path = (bin_directory or self.bin) / tool
        path.parent.mkdir(parents=True, exist_ok=True)
        command = f'exec "{sys.executable}" -I -S "{HERE / "main.py"}" {tool} "{self.state}" "$@"'
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
        return path

    def set(self, **settings: Any) -> None:
        """Change settings of the host; see ``_DEFAULTS``."""
        path = self.state / "settings.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | settings))

    def inject(self, **faults: Mapping[str, Any]) -> None:
        """Let steps go wrong (``__`` in a name stands for a blank): ``text`` with ``code``, or only ``seconds``."""
        with _tools.State(self.state).document("faults.json") as document:
            document |= {step.replace("__", " "): dict(fault) for step, fault in faults.items()}

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        with _tools.State(self.state).document("faults.json") as document:
            document.clear()

    def environment(self, **extra: str) -> dict[str, str]:
        """What a user's shell on this host passes on."""
        path = os.pathsep.join([str(self.bin), "/usr/bin", "/bin"])
        return {"HOME": str(self.home), "PATH": path, **extra}

    def machines(self) -> dict[str, dict[str, Any]]:
        """All machines by name."""
        with _tools.State(self.state).machines() as machines:
            return machines

    def images(self, **digests: str) -> None:
        """Put images into the local store: ``name=digest``, by full reference."""
        with _tools.State(self.state).images() as store:
            store.update(digests)

    def reboot(self, name: str) -> str:
        """Restart a machine: it comes back with another address, which is returned."""
        line = [sys.executable, "-I", "-S", str(HERE / "main.py"), "host", str(self.state), "reboot", name]
        return subprocess.run(line, capture_output=True, text=True, check=True, env=self.environment()).stdout.strip()

    def stop(self, name: str) -> None:
        """Stop a machine behind everybody's back."""
        state = _tools.State(self.state)
        _tools.control_plane.end(state, name, keep=True)
        with state.machines() as machines:
            machines[name]["state"] = "stopped"

    def calls(self, tool: str = "") -> list[dict[str, Any]]:
        """What was called so far, oldest first."""
        return [call for call in self._lines("calls.jsonl") if tool in ("", call["tool"])]

    def rows(self) -> list[str]:
        """The rows of the contract that were made use of, in order."""
        return [call["row"] for call in self.calls()]

    def sleeps(self) -> list[float]:
        """How long the tools slept, in seconds of the real ones."""
        return [line["seconds"] for line in self._lines("sleeps.jsonl")]

    def refused(self) -> list[dict[str, Any]]:
        """Invocations that the contract does not list."""
        return self._lines("refused.jsonl")

    def close(self) -> None:
        """End everything that runs on this host."""
        state = _tools.State(self.state)
        for name in self.machines():
            _tools.control_plane.end(state, name)
        (self.state / "settings.json").unlink()

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.state / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _make_keys(self) -> None:
        pki = self.state / "pki"
        pki.mkdir()
        authority = Authority.create(pki, "ca")
        authority.server(pki, "server", ("127.0.0.1", *(f"{self.network}.{host}" for host in range(2, 41))))
        authority.client(pki, "admin", "kubernetes-admin", ("system:masters",))


_DEFAULTS: dict[str, Any] = {
    "container": "1.1.0",
    "kina": "0.2.0",
    "kubernetes": "v1.36.1",
    "daemon": True,
    "runtime": "instant",
    "scale": 0.0,
    "after": {"node": 0.2, "account": 4.0, "coredns": 10.0},
    "kind": "0.31.0",
    "k3d": "5.8.3",
    "bridged": False,
    "plain_registries": ["plain.example.com:5000"],
    "insecure_registries": [],
    "haproxy_image": "kindest/haproxy:v20230606-42a2262b",
    "pullable": [
        "kindest/haproxy:v20230606-42a2262b",
        "kindest/node:v1.36.1",
        "kindest/node:v1.35.5",
        "rancher/k3s:v1.36.1-k3s1",
        "rancher/k3s:v1.35.5-k3s1",
        "ghcr.io/k3d-io/k3d-proxy:5.8.3",
        "ghcr.io/k3d-io/k3d-tools:5.8.3",
        "mirror.example.com/hub/kindest/node:v1.36.1",
        "mirror.example.com/hub/rancher/k3s:v1.36.1-k3s1",
        "mirror.example.com/hub/library/app:1",
        "library/app:1",
        "plain.example.com:5000/hub/library/app:1",
        "plain.example.com:5000/hub/kindest/node:v1.36.1",
        "plain.example.com:5000/hub/rancher/k3s:v1.36.1-k3s1",
    ],
    "environment": {},
}
