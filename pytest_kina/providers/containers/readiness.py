"""The rungs between "the tool says that it is done" and "a test may use it", proven by reading the API.

No tool's exit code, and no ``--wait`` of a tool, is taken for it: the ServiceAccount that every pod needs comes seconds
after the node is Ready, the cluster's DNS later still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kina.errors import NotReadyError
from pytest_kina.providers.containers.serving import approve_serving
from pytest_kina.waiting import Deadline, Probe, wait_until

_INTERVAL = 0.1
_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
_ROOT_CA = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
DNS = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Climbs one rung after the other, with one deadline for all.

    ``nodes`` are the names that must be Ready. ``explain`` adds what the tool knows when a rung is not reached.
    """

    cluster: str
    nodes: Sequence[str]
    deadline: Deadline
    explain: Callable[[], str] = lambda: ""

    def climb(self, probe: Probe, *, serving: bool) -> None:
        """All rungs up to "ready". ``serving``: kubelets' certificates wait for our approval.

        Raises :class:`NotReadyError`, which names the rung.
        """
        self._rung("/readyz is ok", lambda: _missing(probe, "/readyz"))
        self._rung("all nodes are Ready", lambda: _unready(probe, self.nodes))
        if serving:
            # Until then logs and exec fail with "tls: internal error".
            self._rung("every kubelet has its serving certificate", lambda: approve_serving(probe, self.nodes))
        self._rung("default has its service account", lambda: _missing(probe, _ACCOUNT) or _missing(probe, _ROOT_CA))
        self._rung("CoreDNS is available", lambda: _unavailable(probe, DNS))

    def runs(self, probe: Probe, kubernetes: str) -> None:
        """The server is of the version that was asked for. Raises :class:`NotReadyError`, at once."""
        said = str(json.loads(probe.get("/version")[1]).get("gitVersion", ""))
        if said.partition("+")[0] != kubernetes:
            raise NotReadyError(
                f"cluster {self.cluster} runs Kubernetes {said}, not {kubernetes} as its node image promised",
                next_step="name the node image's real version in its tag",
                cluster=self.cluster,
                rung="the version is the one that was asked for",
                component="",
            )

    def prove_access(self, probe: Probe) -> None:
        """Until the first list that an administrator asks for has succeeded. Raises :class:`NotReadyError`."""
        self._rung("the administrator can list namespaces", lambda: _missing(probe, "/api/v1/namespaces"))

    def answer(self, probe: Probe) -> None:
        """Until the server answers TLS with a certificate of its cluster. Raises :class:`NotReadyError`."""
        self._rung("the API server answers TLS", lambda: _silent(probe))

    def _rung(self, rung: str, problem: Callable[[], str]) -> None:
        last = ""

        def look() -> bool:
            nonlocal last
            try:
                last = problem()
            except OSError as error:
                last = f"the last attempt ended with: {error}"
            return not last

        if wait_until(look, self.deadline, interval=_INTERVAL) is None:
            known = self.explain()
            raise NotReadyError(
                f"cluster {self.cluster} did not become ready; step: {rung}: not reached within "
                f"{self.deadline.seconds:g} s: {last}" + (f"\n{known}" if known else ""),
                next_step="raise --kina-start-timeout, or look at the logs above",
                cluster=self.cluster,
                rung=rung,
                component="",
            )


def _silent(probe: Probe) -> str:
    probe.get("/version")
    return ""


def _missing(probe: Probe, path: str) -> str:
    status, body = probe.get(path)
    return "" if status == 200 else f"GET {path} was answered with {status}: {body[:300].decode(errors='replace')}"


def _unready(probe: Probe, expected: Sequence[str]) -> str:
    if problem := _missing(probe, "/api/v1/nodes"):
        return problem
    nodes = {node["metadata"]["name"]: node for node in json.loads(probe.get("/api/v1/nodes")[1])["items"]}
    problems = [f"{name} has not joined" for name in expected if name not in nodes]
    problems += [f"{name} is not Ready" for name, node in nodes.items() if not _condition(node, "Ready")]
    workable = [node for node in nodes.values() if not _taints(node)]
    return "; ".join(problems) or ("" if workable else "every node has a taint that keeps pods away")


def _taints(node: dict[str, Any]) -> list[Any]:
    return [taint for taint in node["spec"].get("taints") or () if taint["effect"] != "PreferNoSchedule"]


def _unavailable(probe: Probe, path: str) -> str:
    status, body = probe.get(path)
    if status != 200:
        return f"GET {path} was answered with {status}"
    return "" if _condition(json.loads(body), "Available") else "the Deployment coredns is not available"


def _condition(document: dict[str, Any], kind: str) -> bool:
    conditions = document.get("status", {}).get("conditions") or ()
    return any(found["type"] == kind and found["status"] == "True" for found in conditions)
