"""Simulated nodes: objects that kwok keeps Ready, in place of machines with a kubelet."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

from pytest_kina.errors import ProvisionError
from pytest_kina.waiting import Probe

_FIRST_ADDRESS = IPv4Address("10.64.0.1")  # loopback would be refused in an EndpointSlice


def create(probe: Probe, cluster: str, count: int) -> None:
    """Create the nodes ``node-0`` … ``node-<count - 1>``. Raises :class:`ProvisionError` and :class:`OSError`."""
    for number in range(count):
        name, address = f"node-{number}", _FIRST_ADDRESS + number
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "type": "kwok",
        }
        addresses = [{"type": "InternalIP", "address": str(address)}, {"type": "Hostname", "address": name}]
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "status": {"addresses": addresses},
        }
        status, body = probe.request("POST", "/api/v1/nodes", json.dumps(node).encode())
        if status != 201:
            said = body.decode(errors="replace")
            raise ProvisionError(f"cluster {cluster}: {name} was refused with {status}: {said}", cluster=cluster)
