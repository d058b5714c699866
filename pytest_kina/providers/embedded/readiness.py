"""The rungs between "started" and "ready", each with a text for the case that it is not reached.

Every look first checks that no component has exited: a dead cluster fails in milliseconds, not at its deadline.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.errors import NotReadyError
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link, LinkBroken
from pytest_kina.providers.embedded.logs import tail
from pytest_kina.providers.embedded.polling import readable, writable
from pytest_kina.waiting import Deadline, Probe, wait_until

if TYPE_CHECKING:
    from ssl import SSLSocket

_LOG_LINES = 40
_INTERVAL = 0.02
_RETRY = 0.005


class Ladder:
    """Waits for one rung after the other, with one deadline for all."""

    def __init__(self, cluster: str, layout: Layout, link: Link, deadline: Deadline) -> None:
        self._cluster = cluster
        self._layout = layout
        self._link = link
        self._deadline = deadline

    def climb(
        self, rung: str, component: str, look: Callable[[], bool], *, explain: Callable[[], str] | None = None
    ) -> None:
        """Wait until ``look`` is true; an :class:`OSError` of it means "not yet".

        ``component`` is who makes it true. At the deadline ``explain`` adds what is known by then. Raises
        :class:`NotReadyError`, at once when a component has exited.
        """
        last: list[str] = []

        def once() -> bool | None:
            self.check_components(rung)
            try:
                return look() or None
            except OSError as error:
                last[:] = [f"the last attempt ended with: {error}"]
                return None

        if wait_until(once, self._deadline, interval=_INTERVAL) is None:
            raise self._too_late(rung, component, "\n".join([*last, explain() if explain else ""]))

    def handshake(self, rung: str, component: str, port: int, ca: Path) -> None:
        """Wait until a TLS server with a certificate of ``ca`` answers on ``port`` of 127.0.0.1.

        The port accepts connections long before anyone reads them, so one handshake that blocks is answered earlier
        than the next of many attempts would be. Raises :class:`NotReadyError`.
        """
        import ssl

        context = ssl.create_default_context(cafile=str(ca))
        while True:
            self.check_components(rung)
            if self._deadline.expired:
                raise self._too_late(rung, component, f"nothing answered TLS on 127.0.0.1:{port}")
            try:
                plain = socket.create_connection(("127.0.0.1", port), timeout=max(self._deadline.remaining, 0.001))
            except OSError:
                time.sleep(_RETRY)
                continue
            plain.setblocking(False)
            with context.wrap_socket(plain, server_hostname="127.0.0.1", do_handshake_on_connect=False) as secured:
                if self._shake_hands(secured):
                    return
            time.sleep(_RETRY)

    def _shake_hands(self, secured: SSLSocket) -> bool:
        """Whether the handshake succeeded; False as soon as a component exits, the server hangs up, or time is up."""
        import ssl

        while not self._deadline.expired:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                events = self._link.descriptor
                if events in readable(secured.fileno(), events, seconds=self._deadline.remaining):
                    return False
            except ssl.SSLWantWriteError:
                writable(secured.fileno(), self._deadline.remaining)
            except OSError:
                return False
            else:
                return True
        return False

    def check_components(self, rung: str) -> None:
        """Raise :class:`NotReadyError` when a component, or the supervisor, has exited."""
        try:
            exits = self._link.exits()
        except LinkBroken as error:
            raise self.failure(rung, "supervisor", str(error)) from error
        if exits:
            raise self.failure(rung, exits[0].component, "; ".join(map(str, exits)))

    def _too_late(self, rung: str, component: str, known: str) -> NotReadyError:
        problem = f"not reached within {self._deadline.seconds:g} s"
        return self.failure(rung, component, "\n".join([problem, *filter(None, known.splitlines())]))

    def failure(self, rung: str, component: str, problem: str) -> NotReadyError:
        """The error for a rung that was not reached; it shows the end of the component's log."""
        log = tail(self._layout.log(component), _LOG_LINES)
        shown = f"\nThe last lines of {component}.log:\n{log}" if log else f"\n{component} has written no log."
        return NotReadyError(
            f"cluster {self._cluster} did not become ready; step: {rung}: {problem}{shown}",
            next_step="read the log above; nothing that this start made is left running",
            cluster=self._cluster,
            rung=rung,
            component=component,
        )


def etcd_is_healthy(probe: Probe) -> bool:
    """Whether etcd has a leader and serves (``/health``)."""
    status, body = probe.get("/health")
    return status == 200 and json.loads(body).get("health") == "true"


def failed_checks(probe: Probe) -> str:
    """The lines of ``/readyz?verbose`` that name a check that has not passed."""
    try:
        _, body = probe.get("/readyz?verbose")
    except OSError as error:
        return f"/readyz could not be asked: {error}"
    failed = [line for line in body.decode(errors="replace").splitlines() if line.startswith("[-]")]
    return "\n".join(["/readyz says:", *failed]) if failed else ""


def exists(probe: Probe, path: str) -> bool:
    """Whether ``GET path`` is answered with 200."""
    return probe.get(path)[0] == 200


def has_root_ca(probe: Probe, ca: Path) -> bool:
    """Whether ``default`` has its service account, and its ``kube-root-ca.crt`` is the authority of this start."""
    if not exists(probe, "/api/v1/namespaces/default/serviceaccounts/default"):
        return False
    status, body = probe.get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
    return status == 200 and json.loads(body)["data"].get("ca.crt", "").strip() == ca.read_text().strip()


def unready_nodes(probe: Probe) -> list[str]:
    """What is missing until pods can be scheduled to every node, one sentence per node."""
    try:
        status, body = probe.get("/api/v1/nodes")
    except OSError as error:
        return [f"GET /api/v1/nodes was not answered: {error}"]
    if status != 200:
        return [f"GET /api/v1/nodes was answered with {status}"]
    return [problem for node in json.loads(body)["items"] if (problem := _node_problem(node))]


def _node_problem(node: dict[str, Any]) -> str:
    name = node["metadata"]["name"]
    conditions = {found["type"]: found["status"] for found in node.get("status", {}).get("conditions", ())}
    if conditions.get("Ready") != "True":
        return f"{name} is not Ready"
    taints = [taint["key"] for taint in node["spec"].get("taints", ())]
    return f"{name} has the taints {', '.join(taints)}" if taints else ""
