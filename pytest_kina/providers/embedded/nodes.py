"""Simulated nodes: objects that kwok keeps Ready, in place of machines with a kubelet."""

from __future__ import annotations

import json

from pytest_kina.errors import ProvisionError
from pytest_kina.waiting import Probe


def create(probe: Probe, cluster: str, count: int) -> None:
    """Create the nodes ``node-0`` … ``node-<count - 1>``. Raises :class:`ProvisionError` and :class:`OSError`."""
    for number in range(count):
        name = f"node-{number}"
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "type": "kwok",
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        status, body = probe.request("POST", "/api/v1/nodes", json.dumps(node).encode())
        if status != 201:
            said = body.decode(errors="replace")
            raise ProvisionError(f"cluster {cluster}: {name} was refused with {status}: {said}", cluster=cluster)
