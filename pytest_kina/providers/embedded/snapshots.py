"""A snapshot of a running etcd, restored to a data directory that any member can start from.

etcd serves snapshots on its client port as a stream of JSON objects (gRPC gateway of ``Maintenance.Snapshot``,
etcd ``api/etcdserverpb/rpc.proto``); the last 32 bytes are the SHA-256 of the others. ``etcdutl snapshot restore``
verifies them and writes a data directory with a membership of its own, which starts faster than a copied one.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from pytest_kina.errors import ProvisionError
from pytest_kina.files import write_atomic
from pytest_kina.process import run_command
from pytest_kina.waiting import Probe


def take(etcd: Probe, path: Path) -> None:
    """Write a snapshot of the etcd behind ``etcd`` to ``path``. Raises :class:`ProvisionError`, :class:`OSError`."""
    status, body = etcd.request("POST", "/v3/maintenance/snapshot", b"{}")
    if status != 200:
        raise ProvisionError(f"etcd refused a snapshot with {status}: {body[:400].decode(errors='replace')}")
    try:
        parts = [base64.b64decode(json.loads(line)["result"].get("blob", "")) for line in body.splitlines()]
    except (LookupError, ValueError) as error:
        raise ProvisionError(f"etcd broke a snapshot off: {body[-400:].decode(errors='replace')}") from error
    write_atomic(path, b"".join(parts))


def restore(etcdutl: Path, snapshot: Path, directory: Path, timeout: float) -> None:
    """Make the data directory ``directory`` from a snapshot. Raises :class:`~pytest_kina.errors.CommandError`."""
    run_command([etcdutl, "snapshot", "restore", snapshot, "--data-dir", directory], timeout=timeout)
