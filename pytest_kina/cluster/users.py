"""Other users of a cluster: their kubeconfigs, and the roles that they are granted.

A user is a client certificate: its common name is the user, its organisations are the groups (Kubernetes
documentation, "X.509 client certificates").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kina.cluster import kubeconfig
from pytest_kina.cluster.waits import wait_for
from pytest_kina.cluster.watching import Target
from pytest_kina.errors import ApiError, KinaError, NotFound
from pytest_kina.files import write_atomic
from pytest_kina.waiting import Deadline, wait_until

if TYPE_CHECKING:
    from pytest_kina.cluster.cluster import Cluster
    from pytest_kina.cluster.connection import Connection

Role = str | Sequence[Mapping[str, Any]]

_RBAC = "rbac.authorization.k8s.io"
_PARTS = {
    "view": ("system:aggregate-to-view",),
    "edit": ("system:aggregate-to-view", "system:aggregate-to-edit"),
    "admin": ("system:aggregate-to-view", "system:aggregate-to-edit", "system:aggregate-to-admin"),
}
"""What the aggregated roles are made of. Without its controller nobody fills them, so the parts are granted."""
_EFFECT_TIMEOUT = 10.0
"""Seconds until the API server, which reads roles from a cache, must act on a new one (usually milliseconds)."""
_LOOK_AGAIN = 0.005


def write_kubeconfig(cluster: Cluster, name: str, groups: Sequence[str]) -> Path:
    """Write the kubeconfig of ``cluster.kubeconfig_for``."""
    from pytest_kina.certificates import issue_client

    try:
        certificate = issue_client(cluster.directory, name, groups)
    except FileNotFoundError as error:
        raise KinaError(
            f"cluster {cluster.name} ({cluster.provider}) has no client CA of ours, so no user {name!r} can be made",
            next_step="use the embedded provider, or a ServiceAccount and its token",
        ) from error
    folder = cluster.directory / "users"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{_digest(name, *groups)}.kubeconfig"
    write_atomic(path, kubeconfig.with_user(kubeconfig.read(cluster.kubeconfig), name, certificate))
    return path


def grant(admin: Connection, user: Connection, name: str, role: Role, *, namespace: str | None) -> None:
    """Grant ``role`` to the user ``name`` in ``namespace`` (None: everywhere), and return when it has effect.

    Raises NotFound for a ClusterRole that does not exist, and ApiError when it has no effect in time.
    """
    for wanted in _roles(admin, role):
        rules = _bind(admin, name, wanted, namespace)
        if check := _check(rules, namespace):
            _await_effect(user, check, wanted)


def _roles(admin: Connection, role: Role) -> Sequence[Role]:
    if not isinstance(role, str):
        return (role,)
    return (role,) if admin.traits.controllers else _PARTS.get(role, (role,))


def _bind(admin: Connection, user: str, role: Role, namespace: str | None) -> Sequence[Mapping[str, Any]]:
    """Make the binding (and the role, for own rules); returns the rules that it grants."""
    if isinstance(role, str):
        rules = _rules(admin, role)
        reference = {"kind": "ClusterRole", "name": role}
    else:
        rules = role
        reference = {"kind": "Role" if namespace else "ClusterRole", "name": f"pytest-kina-{_digest(repr(role))}"}
        _put(admin, reference["kind"], reference["name"], namespace, {"rules": [dict(rule) for rule in role]})
    binding = {
        "roleRef": {"apiGroup": _RBAC, **reference},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
    name = f"pytest-kina-{_digest(user, reference['name'])}"
    _put(admin, "RoleBinding" if namespace else "ClusterRoleBinding", name, namespace, binding)
    return rules


def _rules(admin: Connection, name: str) -> Sequence[Mapping[str, Any]]:
    """The rules of a ClusterRole; those of a new aggregated one are there once its controller has been."""
    target = Target(kind=admin.discovery.find(f"clusterroles.{_RBAC}"), name=name)
    try:
        found = admin.api.request("GET", target.kind.path(None, name), admin.api.call("get", target.subject))
    except NotFound as error:
        error.next_step = f"role is {', '.join(_PARTS)}, cluster-admin, a ClusterRole that was applied before, or rules"
        raise
    if admin.traits.controllers and found.get("aggregationRule") and not found.get("rules"):
        found = wait_for(admin.api, target, until=lambda role: role["rules"], deadline=Deadline(_EFFECT_TIMEOUT))
    return found.get("rules") or ()


def _put(admin: Connection, kind: str, name: str, namespace: str | None, content: Mapping[str, Any]) -> None:
    from pytest_kina.cluster.applying import apply_all
    from pytest_kina.cluster.manifests import load

    manifest = {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": name}, **content}
    apply_all(admin, load(manifest), place=lambda _, __: namespace, field_manager="pytest-kina", force=True)


def _check(rules: Sequence[Mapping[str, Any]], namespace: str | None) -> dict[str, Any] | None:
    """A question that these rules answer with yes (a ``SelfSubjectAccessReview`` spec), if they grant anything."""
    for rule in rules:
        if rule.get("resources") and rule.get("verbs"):
            resource, _, subresource = rule["resources"][0].partition("/")
            asked = {"verb": rule["verbs"][0], "group": (rule.get("apiGroups") or [""])[0], "resource": resource}
            names = {"name": rule["resourceNames"][0]} if rule.get("resourceNames") else {}
            where = {"namespace": namespace} if namespace else {}
            return {"resourceAttributes": {**asked, **names, **where, "subresource": subresource}}
        if rule.get("nonResourceURLs") and rule.get("verbs"):
            return {"nonResourceAttributes": {"path": rule["nonResourceURLs"][0], "verb": rule["verbs"][0]}}
    return None


def _await_effect(user: Connection, check: Mapping[str, Any], role: Role) -> None:
    api = user.api
    call = api.call("ask what may be done", "selfsubjectaccessreviews")
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": check}

    def allowed() -> bool:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(api.request("POST", path, call, body=body)["status"].get("allowed"))

    if not wait_until(allowed, Deadline(_EFFECT_TIMEOUT), interval=_LOOK_AGAIN):
        raise ApiError(
            f"role {role} was bound to {user.config.user_name} but has no effect after {_EFFECT_TIMEOUT:g} s: {check}",
            next_step="look at component_logs() of the API server",
        )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
