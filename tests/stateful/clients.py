"""Forked processes that do with the real pool what they are told, one order at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from pytest_kina.pool import Lease
from pytest_kina.pool.tidying import advise
from pytest_kina.testing import backend_state, use_backend
from tests.support.pool_kit import Kit, want


class Client:
    """A process of a run, driven over a socket. It may be killed, stopped and continued."""

    def __init__(self, root: Path, run: str, size: int) -> None:
        ours, theirs = socket.socketpair()
        self.run = run
        self.stopped = False
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            _serve(theirs, root, run, size)
        theirs.close()
        self._socket = ours
        self._answers = ours.makefile("r", encoding="utf-8")
        self._answers.readline()

    def ask(self, order: str, **fields: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self._socket.sendall(json.dumps({"order": order, **fields}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        assert "bug" not in answer, answer["bug"]
        return answer

    def begin(self, order: str, **fields: Any) -> None:
        """Give an order and do not wait."""
        self._socket.sendall(json.dumps({"order": order, **fields}).encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it, and wait until a stop has taken effect."""
        os.kill(self.pid, number)
        if number is signal.SIGSTOP:
            os.waitpid(self.pid, os.WUNTRACED)
        self.stopped = number is signal.SIGSTOP

    def kill(self) -> None:
        """End it, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._answers.close()
        self._socket.close()


def _serve(connection: socket.socket, root: Path, run: str, size: int) -> None:
    kit = Kit(root, run=run, size=size, lease_timeout=0.0, ttl=900.0)
    leases: dict[str, Lease] = {}
    with contextlib.suppress(BaseException), connection.makefile("rw", encoding="utf-8") as stream:
        stream.write("ready\n")
        stream.flush()
        for line in stream:
            try:
                answer = _obey(kit, leases, json.loads(line))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    os._exit(0)


def _obey(kit: Kit, leases: dict[str, Lease], order: dict[str, Any]) -> dict[str, Any]:
    match order["order"]:
        case "lease":
            (lease,) = kit.pool.lease([want(order["isolation"], version=order["version"])], note=order["isolation"])
            found = backend_state(lease.directory)
            use_backend(lease.directory, order["user"])
            leases[lease.name] = lease
            return {"cluster": lease.name, "slot": lease.number, "found": found}
        case "release":
            leases.pop(order["cluster"]).release()
        case "look":
            return {"found": backend_state(leases[order["cluster"]].directory)}
        case "tidy":
            return {"said": kit.pool.tidy()}
        case "advise":
            for each in kit.pool.status():
                advise(kit.pool._actor, each.slot, each.cluster)
    return {}
