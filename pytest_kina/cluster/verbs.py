"""What both handles can do with objects: apply, get, list, delete, wait, logs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster.manifests import Manifest, Source, load
from pytest_kina.errors import KinaError, ManifestError, NotFound
from pytest_kina.waiting import Deadline

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

    from pytest_kina.cluster.connection import Connection
    from pytest_kina.cluster.resources import ResourceType
    from pytest_kina.cluster.waits import Until
    from pytest_kina.cluster.watching import Target

FIELD_MANAGER = "pytest-kina"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:@-]*[A-Za-z0-9])?")


class Verbs(ABC):
    """The verbs of a handle. Objects are plain dicts, as JSON has them.

    A *target* is ``kind/name`` for one object and ``kind`` for a collection; the kind may be plural, singular, a
    short name or ``Kind``, with the group behind it where the name alone is not clear (``widgets.example.com``).
    All verbs raise :class:`~pytest_kina.errors.ApiError` or one of its kinds when the API server refuses.
    """

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The kubeconfig of this handle's user: a private file of this cluster."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """What the handle talks through in this process; for this package's own use."""

    @property
    @abstractmethod
    def _home(self) -> str | None:
        """The namespace that this handle is about; None for a whole cluster."""

    @property
    def user(self) -> str:
        """The name of the user in the kubeconfig."""
        return self.connection.config.user_name

    def client(self) -> ApiClient:
        """The official client, for ``kubernetes.client.CoreV1Api(...)`` and the like: one per process."""
        return self.connection.client

    @property
    def dynamic(self) -> DynamicClient:
        """The official ``DynamicClient``: one per process, with a private discovery cache."""
        return self.connection.dynamic

    def apply(self, source: Source, *, field_manager: str = FIELD_MANAGER, force: bool = False) -> list[dict[str, Any]]:
        """Apply manifests on the server's side, and return the objects that it made of them, in the same order.

        ``source`` is a file, a folder, YAML text, a dict or a list of dicts. Namespaces and CRDs are applied first
        and are ready before the others are sent. ``force`` takes fields over from other managers; without it that is
        a :class:`~pytest_kina.errors.Conflict` (attribute ``fields``). Raises
        :class:`~pytest_kina.errors.ManifestError` for what is not an object.
        """
        from pytest_kina.cluster.applying import apply_all

        return apply_all(self.connection, load(source), place=self._place, field_manager=field_manager, force=force)

    def get(
        self, target: str, name: str | None = None, *, namespace: str | None = None, api_version: str | None = None
    ) -> dict[str, Any]:
        """One object: ``get("configmap/a")`` or ``get("configmap", "a")``. Raises NotFound."""
        found = self._one(target, name, namespace, api_version)
        item: dict[str, Any] = self._request("GET", "get", found)
        return item

    def list(
        self,
        target: str,
        *,
        selector: str | None = None,
        fields: str | None = None,
        namespace: str | None = None,
        api_version: str | None = None,
    ) -> list[dict[str, Any]]:
        """The objects of a kind, of all namespaces unless one is given or the handle is of one.

        ``selector`` is a label selector (``app=web,tier!=db``), ``fields`` a field selector.
        """
        wanted = self._target(target, namespace, api_version, selector=selector, fields=fields)
        answer = self._request("GET", "list", wanted, query=wanted.query)
        common = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
        return [{**common, **item} for item in answer["items"]]

    def delete(
        self,
        target: str,
        name: str | None = None,
        *,
        wait: bool = False,
        timeout: float = 30.0,
        namespace: str | None = None,
        api_version: str | None = None,
    ) -> None:
        """Delete one object, and what it owns in the background; with ``wait``, return when it is gone.

        Raises NotFound, and WaitTimeoutError after ``timeout`` seconds.
        """
        found = self._one(target, name, namespace, api_version)
        if found.kind.full_name == "namespaces":
            self._delete_namespace(str(found.name), wait=wait, timeout=timeout)
            return
        self._request("DELETE", "delete", found, query=(("propagationPolicy", "Background"),))
        if wait:
            self.wait(target, name, deleted=True, timeout=timeout, namespace=namespace, api_version=api_version)

    def wait(
        self,
        target: str,
        name: str | None = None,
        *,
        condition: str | None = None,
        until: Until | None = None,
        deleted: bool = False,
        selector: str | None = None,
        fields: str | None = None,
        count: int | None = None,
        timeout: float = 30.0,
        namespace: str | None = None,
        api_version: str | None = None,
    ) -> Any:
        """Watch until the target is as wanted, and return it (a collection: those objects; ``deleted``: None).

        Without a wish: until it is usable as its kind understands it (a Deployment, StatefulSet or DaemonSet is
        rolled out, a Job complete, a Pod or Node Ready, a CRD Established, a claim Bound; others exist). An object
        need not exist yet.

        ``condition`` names an entry of ``status.conditions``, as ``Available`` or ``Available=False``; a status older
        than the spec does not count. ``until`` is a function of the object; a key that it does not find yet
        (``KeyError``, ``IndexError``, ``TypeError``) counts as not yet. ``count`` is how many objects of a collection
        must be so, or exist; without it, all of at least one. ``timeout`` is in seconds.

        Raises :class:`~pytest_kina.errors.WaitTimeoutError` with the last status and the latest events; at once when
        it cannot happen any more (a failed Job, a stopped rollout, an ended Pod).
        """
        from pytest_kina.cluster.waits import wait_for

        if until is not None and not callable(until):  # calling it would be a TypeError, and thus "not yet"
            raise ValueError(f"until is a function of the object, got {until!r}; for a condition: condition={until!r}")
        if name is not None or "/" in target:
            if selector or fields:
                raise ValueError(f"selector and fields choose from a collection, and {target!r} is one object")
            found = self._one(target, name, namespace, api_version)
        else:
            found = self._target(target, namespace, api_version, selector=selector, fields=fields)
        return wait_for(
            self.connection.api,
            found,
            condition=condition,
            until=until,
            deleted=deleted,
            count=count,
            deadline=Deadline(timeout),
        )

    def logs(
        self, target: str, *, container: str | None = None, tail: int | None = None, namespace: str | None = None
    ) -> str:
        """What the pod ``target`` (``"pod/a"`` or ``"a"``) has printed, the last ``tail`` lines of it.

        Simulated pods run nothing: KinaError says so. Raises :class:`ValueError` for what has no logs.
        """
        found = self._one(target if "/" in target else f"pod/{target}", None, namespace, None)
        if found.kind.full_name != "pods":
            raise ValueError(f"only pods have logs: give 'pod/<name>', not {target!r}")
        if self.connection.traits.simulated:  # asking would make the API server look for a host called like the node
            self._request("GET", "get", found)
            raise KinaError(
                f"pod/{found.name} has no logs: its node is simulated, so its containers never ran",
                next_step="assert on the pod's status and events, or use a provider with real nodes (kina, kind)",
            )
        wanted = (("container", container), ("tailLines", None if tail is None else str(tail)))
        query = [(key, value) for key, value in wanted if value is not None]
        return str(self._request("GET", "read the logs of", found, query=query, subresource="log"))

    def _request(
        self, method: str, verb: str, target: Target, *, query: Any = (), subresource: str | None = None
    ) -> Any:
        api = self.connection.api
        call = api.call(verb, target.subject, target.namespace)
        try:
            return api.request(method, target.kind.path(target.namespace, target.name, subresource), call, query=query)
        except NotFound as error:
            if isinstance(error.body, dict):  # the server knows the type, but not the object
                raise
            self.connection.discovery.refresh()
            served = self.connection.discovery.find(target.kind.full_name)
            if served == target.kind:
                raise
            return api.request(method, served.path(target.namespace, target.name, subresource), call, query=query)

    def _one(self, target: str, name: str | None, namespace: str | None, api_version: str | None) -> Target:
        word, slash, tail = target.partition("/")
        if bool(slash) == (name is not None) or not _NAME.fullmatch(name if name is not None else tail):
            raise ValueError(f"expected 'kind/name' (or a kind and a name), got {target!r} and {name!r}")
        return self._target(word, namespace, api_version, name=name if name is not None else tail)

    def _target(self, word: str, namespace: str | None, api_version: str | None, **chosen: str | None) -> Target:
        from pytest_kina.cluster.watching import Target

        if not word or "/" in word:
            raise ValueError(f"expected the name of a kind, got {word!r}")
        kind = self.connection.discovery.find(word, api_version)
        default = "default" if chosen.get("name") else None
        where = self._own(namespace, word) or default if kind.namespaced else None
        return Target(kind=kind, namespace=where, **chosen)

    def _own(self, namespace: str | None, what: str) -> str | None:
        if namespace is not None and self._home is not None and namespace != self._home:
            raise ManifestError(
                f"{what} belongs to namespace {namespace!r}, and this handle is of namespace {self._home!r}",
                next_step="leave the namespace out, or use the cluster's handle",
            )
        return namespace or self._home

    def _place(self, manifest: Manifest, kind: ResourceType) -> str | None:
        if not kind.namespaced:
            return None
        return self._own(manifest.namespace, f"{manifest.place}: {manifest.kind} {manifest.name}") or "default"

    def _delete_namespace(self, name: str, *, wait: bool, timeout: float) -> None:
        from pytest_kina.cluster.emptying import delete_namespace

        delete_namespace(self.connection, name, wait=wait, deadline=Deadline(timeout))
