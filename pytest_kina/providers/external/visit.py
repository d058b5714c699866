"""What is asked of an existing cluster, as a guest: its identity, our rights, and the namespaces that are ours."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pytest_kina.cluster import kubeconfig
from pytest_kina.cluster.api import Api
from pytest_kina.cluster.namespace import CLUSTER_LABEL
from pytest_kina.errors import NotFound, ProvisionError
from pytest_kina.waiting import Deadline, wait_until

_NAMESPACES = "/api/v1/namespaces"
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS = ("create", "delete", "get", "list")
_LOOK_AGAIN = 0.2
"""Seconds between two looks at a namespace that is being deleted; its controller takes at least five."""


class Visit:
    """A connection to the cluster of the kubeconfig ``path``; each request may take ``seconds``.

    Every method raises :class:`~pytest_kina.errors.ApiError`.
    """

    def __init__(self, path: Path, name: str, seconds: float) -> None:
        config = kubeconfig.read(path)
        # The official client wants certificates as files: they lie beside the kubeconfig, and go with it.
        self._client = kubeconfig.new_client(config, path.parent / "client")
        self._api = Api(self._client, cluster=name, user=config.user_name)
        self._seconds = seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def version(self) -> str:
        """The Kubernetes version, as ``v1.36.3``."""
        return str(self._get("/version", "version")["gitVersion"])

    def uid(self) -> str:
        """What tells this cluster from a new one at the same address: the uid of ``kube-system``."""
        return str(self._get(f"{_NAMESPACES}/kube-system", "namespaces/kube-system")["metadata"]["uid"])

    def ready(self) -> None:
        """``/readyz`` says ok."""
        self._get("/readyz", "readyz")

    def forbidden(self) -> list[str]:
        """What we must be able to do with namespaces, and may not."""
        return [verb for verb in _VERBS if not self._may(verb)]

    def namespaces(self, cluster: str) -> list[str]:
        """The namespaces that were made for ``cluster``."""
        found = self._get(_NAMESPACES, "namespaces", (("labelSelector", f"{CLUSTER_LABEL}={cluster}"),))
        return [each["metadata"]["name"] for each in found["items"]]

    def clean(self, cluster: str, timeout: float) -> None:
        """Delete all namespaces of ``cluster`` and return when they are gone.

        Raises :class:`ProvisionError` that names those that are still there after ``timeout`` seconds.
        """
        for name in self.namespaces(cluster):
            with suppress(NotFound):
                call = self._api.call("delete", f"namespaces/{name}")
                self._api.request("DELETE", f"{_NAMESPACES}/{name}", call, timeout=self._seconds)
        if not wait_until(lambda: not self.namespaces(cluster), Deadline(timeout), interval=_LOOK_AGAIN):
            left = ", ".join(self.namespaces(cluster))
            raise ProvisionError(
                f"namespaces {left} of {cluster} are still there after {timeout:g} s",
                next_step="look what holds them (`kubectl get namespace NAME -o yaml`: conditions, finalizers)",
                cluster=cluster,
            )

    def _may(self, verb: str) -> bool:
        spec = {"resourceAttributes": {"verb": verb, "resource": "namespaces"}}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        call = self._api.call("ask what may be done", "selfsubjectaccessreviews")
        answer: Mapping[str, Any] = self._api.request("POST", _REVIEW, call, body=body, timeout=self._seconds)
        return bool(answer["status"].get("allowed"))

    def _get(self, path: str, subject: str, query: tuple[tuple[str, str], ...] = ()) -> Any:
        call = self._api.call("get", subject)
        return self._api.request("GET", path, call, query=query, timeout=self._seconds)
