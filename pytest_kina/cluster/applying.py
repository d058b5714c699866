"""Server-side apply in an order that works: what other objects need to exist comes first and is waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytest_kina.cluster.connection import Connection
from pytest_kina.cluster.manifests import Manifest
from pytest_kina.cluster.resources import ResourceType
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import NotFound
from pytest_kina.waiting import Deadline

_TIMEOUT = 30.0
"""Seconds until a CRD must be Established, or a namespace must have its ServiceAccount."""


def apply_all(
    connection: Connection,
    manifests: Sequence[Manifest],
    *,
    place: Callable[[Manifest, ResourceType], str | None],
    field_manager: str,
    force: bool,
) -> list[dict[str, Any]]:
    """Apply ``manifests`` and return what the server made of them, in the order in which they were given.

    Namespaces and CRDs go first, and are ready before the rest is sent. ``place`` says in which namespace an object
    belongs. Raises :class:`~pytest_kina.errors.ManifestError`, :class:`~pytest_kina.errors.Conflict` (attribute
    ``fields``) when another manager owns a field, and the other kinds of :class:`~pytest_kina.errors.ApiError`.
    """
    applied: dict[int, dict[str, Any]] = {}
    early = [manifest for manifest in manifests if manifest.is_namespace or manifest.is_crd]
    for manifest in early:
        applied[id(manifest)] = _apply(connection, manifest, place, field_manager, force=force)
    for manifest in early:
        _settle(connection, manifest)
    for manifest in manifests:
        if id(manifest) not in applied:
            applied[id(manifest)] = _apply(connection, manifest, place, field_manager, force=force)
    return [applied[id(manifest)] for manifest in manifests]


def _apply(
    connection: Connection,
    manifest: Manifest,
    place: Callable[[Manifest, ResourceType], str | None],
    field_manager: str,
    *,
    force: bool,
) -> dict[str, Any]:
    kind = connection.discovery.of(manifest.api_version, manifest.kind)
    if kind is None:
        raise NotFound(
            f"{manifest.place}: the server serves no {manifest.kind} in {manifest.api_version}",
            next_step="apply its CustomResourceDefinition first, or correct apiVersion and kind",
            status=404,
            reason="NotFound",
        )
    namespace = place(manifest, kind)
    call = connection.api.call("apply", f"{kind.full_name}/{manifest.name} (from {manifest.place})", namespace)
    answer: dict[str, Any] = connection.api.request(
        "PATCH",
        kind.path(namespace, manifest.name),
        call,
        query=(("fieldManager", field_manager), ("force", "true" if force else "false")),
        body=dict(manifest.content),
        content_type="application/apply-patch+yaml",
    )
    return answer


def _settle(connection: Connection, manifest: Manifest) -> None:
    if manifest.is_namespace:
        connection.await_accounts(manifest.name, Deadline(_TIMEOUT))
        return
    crd = connection.discovery.find("customresourcedefinitions.apiextensions.k8s.io")
    target = Target(kind=crd, namespace=None, name=manifest.name)
    definition = wait_for(connection.api, target, condition="Established", deadline=Deadline(_TIMEOUT))
    connection.await_served(definition, Deadline(_TIMEOUT))
