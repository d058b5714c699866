"""How a running cluster is: whether its processes live, and what its API server says.

Every lease asks, and most of the time of an answer is a new connection, so connections are kept for the next time.
"""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path

from pytest_kina._supervisor import SCHEMA
from pytest_kina.files import peek_json
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import credentials, link, processes, readiness
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.waiting import Probe

_log = logging.getLogger(__name__)

_SECONDS = 2.0

# The cluster, its API server's port, and the process: a fork must not talk into the connection of its parent.
_Key = tuple[str, int, int]


class Health:
    """Examines clusters. Threads may share it: a connection in use is nobody else's."""

    def __init__(self) -> None:
        self._kept: dict[_Key, Probe] = {}
        # Not __del__: in a cycle of garbage the connections' own finalizers might run first, and complain.
        weakref.finalize(self, _close, self._kept)

    def problem(self, place: Place) -> str | None:
        """One sentence that says why the cluster is of no use, or None.

        Its supervisor lives, no component is gone, and ``/readyz`` is answered over mutual TLS by its own server,
        without the hooks that in a cluster from a template may still sleep and have nothing left to do.
        """
        layout = Layout(place.directory)
        if died := peek_json(layout.died, SCHEMA):
            return f"{died['component']} {link.describe_exit(died['code'], died['signal'])}"
        if processes.supervisor(layout.identity, place.name) is None:
            return "its supervisor is not running"
        try:
            status, body = self._ask(layout, place.name)
        except (OSError, ValueError) as error:
            return f"its API server cannot be asked: {error}"
        return None if status == 200 else readiness.refusal(status, body)

    def forget(self, cluster: str) -> None:
        """Close what is kept of a cluster that is about to end."""
        _close(self._kept, cluster)

    def _ask(self, layout: Layout, cluster: str) -> tuple[int, bytes]:
        key = (cluster, credentials.api_port(layout.kubeconfig), os.getpid())
        if kept := self._kept.pop(key, None):
            try:
                return self._answer(key, kept)
            except TimeoutError:  # it hangs, and would do so again
                raise
            except OSError as error:  # an idle connection that the server has ended; unless it has ended itself
                _log.debug("%s is asked over a new connection: %s", cluster, error)
        return self._answer(key, _connect(layout.pki, key[1]))

    def _answer(self, key: _Key, probe: Probe) -> tuple[int, bytes]:
        try:
            answer = probe.get(readiness.USABLE)
        except BaseException:
            probe.close()
            raise
        if self._kept.setdefault(key, probe) is not probe:
            probe.close()
        return answer


def _connect(pki: Path, port: int) -> Probe:
    certificate = pki / f"{credentials.ADMIN}.pem"
    return Probe("127.0.0.1", port, ca=pki / "serving-ca.crt", certificate=certificate, timeout=_SECONDS)


def _close(kept: dict[_Key, Probe], cluster: str | None = None) -> None:
    for key in list(kept):
        if cluster in (None, key[0]) and (probe := kept.pop(key, None)):
            probe.close()
