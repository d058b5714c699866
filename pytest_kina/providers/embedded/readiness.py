"""The rungs between "started" and "ready", each with a text for the case that it is not reached.

Every look first checks that no component has exited: a dead cluster fails in milliseconds, not at its deadline.
The log (level DEBUG) says when each rung was reached, which is the time line of a start.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_kina.errors import NotReadyError
from pytest_kina.files import tail
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link, LinkBroken
from pytest_kina.providers.embedded.polling import readable, writable
from pytest_kina.waiting import Deadline, Probe, wait_until

if TYPE_CHECKING:
    from ssl import SSLSocket

_log = logging.getLogger(__name__)

_LOG_LINES = 40
_INTERVAL = 0.02
_RETRY = 0.005

# Two of these hooks only make objects that a template contains, and sleep for a second before they look; what the
# first one is for, roles that are believed, has a rung of its own (kubernetes pkg/registry/{rbac,scheduling}/rest).
# The third renews the Lease that tells other API servers of this one; it ends a tenth of a second after the others.
USABLE = (
    "/readyz?exclude=poststarthook/rbac/bootstrap-roles"
    "&exclude=poststarthook/scheduling/bootstrap-system-priority-classes"
    "&exclude=poststarthook/start-kube-apiserver-identity-lease-controller"
)
"""Ready, for a cluster whose first objects came from a template."""
# What connecting and listening end with when every local port is taken, in the words of Go and of Python.
_NO_PORTS = ("cannot assign requested address", "address already in use", "Cannot assign requested address")
_PORTS_CURE = (
    "free local ports (`ss -tan` shows who has them), or widen net.ipv4.ip_local_port_range: "
    "a cluster needs some dozens"
)


class Ladder:
    """Waits for one rung after the other, with one deadline for all."""

    def __init__(self, cluster: str, layout: Layout, link: Link, deadline: Deadline) -> None:
        self._cluster = cluster
        self._layout = layout
        self._link = link
        self._deadline = deadline

    def climb(
        self,
        rung: str,
        component: str,
        look: Callable[[], bool],
        *,
        explain: Callable[[], str] | None = None,
        interval: float = _INTERVAL,
    ) -> None:
        """Wait until ``look`` is true, asking every ``interval`` seconds; an :class:`OSError` of it means "not yet".

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

        if wait_until(once, self._deadline, interval=interval) is None:
            raise self._too_late(rung, component, "\n".join([*last, explain() if explain else ""]))
        self._reached(rung)

    @contextmanager
    def step(self, rung: str, component: str) -> Iterator[None]:
        """A rung that is one piece of work: an :class:`OSError` in the block is ``component``'s failure to do it."""
        try:
            yield
        except OSError as error:
            self.check_components(rung)
            raise self.failure(rung, component, str(error)) from error
        self._reached(rung)

    def _reached(self, rung: str) -> None:
        _log.debug("%s: %s after %.3f s", self._cluster, rung, self._deadline.elapsed)

    def handshake(self, port: int, etcd: Probe) -> None:
        """Wait until our API server answers TLS on ``port`` of 127.0.0.1; if it does not, ``etcd`` may be the reason.

        The port accepts connections long before anyone reads them, so one handshake that blocks is answered earlier
        than the next of many attempts would be. Raises :class:`NotReadyError`.
        """
        import ssl

        rung, component = "the API server answers TLS", "kube-apiserver"
        context = ssl.create_default_context(cafile=str(self._layout.pki / "serving-ca.crt"))
        while True:
            self.check_components(rung)
            if self._deadline.expired:
                known = f"nothing answered TLS on 127.0.0.1:{port}"
                raise self._too_late(rung, component, f"{known}\n{etcd_problem(etcd)}")
            try:
                plain = socket.create_connection(("127.0.0.1", port), timeout=max(self._deadline.remaining, 0.001))
            except OSError:
                time.sleep(_RETRY)
                continue
            plain.setblocking(False)
            with context.wrap_socket(plain, server_hostname="127.0.0.1", do_handshake_on_connect=False) as secured:
                if self._shake_hands(secured):
                    self._reached(rung)
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
        cure = _PORTS_CURE if any(complaint in f"{problem}{log}" for complaint in _NO_PORTS) else "read the log above"
        return NotReadyError(
            f"cluster {self._cluster} did not become ready; step: {rung}: {problem}{shown}",
            next_step=f"{cure}; nothing that this start made is left running",
            cluster=self._cluster,
            rung=rung,
            component=component,
        )


def etcd_problem(probe: Probe) -> str:
    """What etcd says about its health (``/health``), unless it is well."""
    try:
        status, body = probe.get("/health")
    except OSError as error:
        return f"etcd could not be asked: {error}"
    return "" if status == 200 and json.loads(body).get("health") == "true" else f"etcd is not healthy: {status}"


def failed_checks(probe: Probe) -> str:
    """The lines of ``/readyz?verbose`` that name a check that has not passed."""
    try:
        _, body = probe.get("/readyz?verbose")
    except OSError as error:
        return f"/readyz could not be asked: {error}"
    failed = _failed_lines(body)
    return "\n".join(["/readyz says:", *failed]) if failed else ""


def refusal(status: int, body: bytes) -> str:
    """One line that says with what ``/readyz`` refused: the checks that failed, else all that it said."""
    said = ", ".join(line.removeprefix("[-]") for line in _failed_lines(body))
    return f"/readyz was answered with {status}: {said or body.decode(errors='replace').strip()}"


def _failed_lines(body: bytes) -> list[str]:
    return [line for line in body.decode(errors="replace").splitlines() if line.startswith("[-]")]


def exists(probe: Probe, path: str) -> bool:
    """Whether ``GET path`` is answered with 200."""
    return probe.get(path)[0] == 200


def unready_nodes(probe: Probe, count: int) -> list[str]:
    """What is missing until pods can be scheduled to every one of ``count`` nodes, one sentence per node."""
    try:
        status, body = probe.get("/api/v1/nodes")
    except OSError as error:
        return [f"GET /api/v1/nodes was not answered: {error}"]
    if status != 200:
        return [f"GET /api/v1/nodes was answered with {status}"]
    found = json.loads(body)["items"]
    missing = [f"there are {len(found)} nodes instead of {count}"] if len(found) < count else []
    return [*missing, *(problem for node in found if (problem := _node_problem(node)))]


def _node_problem(node: dict[str, Any]) -> str:
    name = node["metadata"]["name"]
    conditions = {found["type"]: found["status"] for found in node.get("status", {}).get("conditions", ())}
    if conditions.get("Ready") != "True":
        return f"{name} is not Ready"
    taints = [taint["key"] for taint in node["spec"].get("taints", ())]
    return f"{name} has the taints {', '.join(taints)}" if taints else ""
