"""The gate: a client's credential that is handed over only when the API server is ready for it.

kube-controller-manager asks ``/healthz`` once and then once per second, so a start that is too early costs whole
seconds. Its kubeconfig therefore names an *exec credential plugin* (client.authentication.k8s.io/v1): ``cat`` of a
file that is a FIFO until :meth:`Gate.open` writes the credential. The program starts, loads and parses meanwhile, and
its first request goes out at the right moment; the program itself is unchanged.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Self

from pytest_kina.files import write_atomic

_API = "client.authentication.k8s.io/v1"


def plugin(path: Path) -> dict[str, object]:
    """The user of a kubeconfig whose credential comes through the gate at ``path``."""
    return {"exec": {"apiVersion": _API, "command": "cat", "args": [str(path)], "interactiveMode": "Never"}}


class Gate:
    """A closed gate at ``path``; :meth:`open` lets through whoever asks, also those that ask later."""

    def __init__(self, path: Path) -> None:
        """Make the FIFO. Raises :class:`OSError`."""
        self._path = path
        os.mkfifo(path, 0o600)
        # Both ends: readers need not wait for us to open it, and we need not wait for them.
        self._held: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def open(self, pki: Path, client: str) -> None:
        """Hand over ``<client>.crt`` and ``<client>.key`` of the directory ``pki``. Raises :class:`OSError`."""
        assert self._held is not None, "a gate is opened once"
        certificate, key = (pki / f"{client}{suffix}" for suffix in (".crt", ".key"))
        status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
        content = json.dumps({"apiVersion": _API, "kind": "ExecCredential", "status": status}).encode()
        # The file first: who comes from now on, also after a credential was refused, finds it instead of the FIFO.
        write_atomic(self._path, content)
        os.write(self._held, content)  # a few kilobytes fit into the pipe, whether somebody reads already or not
        self.close()

    def close(self) -> None:
        """Let go of the FIFO: a reader of a gate that never opened gets an empty answer."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
