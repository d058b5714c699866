"""What the API server refused, as our errors: verb, object, namespace, user, and the server's own words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pytest_kina.errors import ApiError, Conflict, Forbidden, NotFound

_KINDS: dict[int, type[ApiError]] = {403: Forbidden, 404: NotFound, 409: Conflict}
_NEXT = {
    401: "the credentials are not (or no longer) those of this cluster: take a new handle",
    403: "grant the verb with as_user(..., role=...) or a RoleBinding of your own, or act as another user",
    409: "get the object again and repeat the change",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is being asked of the API server, in words: ``get`` ``configmaps/a`` in ``namespace`` as ``user``."""

    verb: str
    subject: str
    namespace: str | None = None
    user: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.subject}{where} as {self.user} on cluster {self.cluster}"


def refused(call: Call, status: int, reason: str, body: str | bytes | None) -> ApiError:
    """The error for an answer with the HTTP code ``status``.

    ``body`` is a ``Status`` object (Kubernetes API conventions, "Response Status Kind") or whatever a proxy sent.
    """
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    document = _status(text)
    fields = _owned_fields(document)
    owned = "".join(f"\n  {field}: {message}" for field, message in fields)
    return _KINDS.get(status, ApiError)(
        f"cannot {call}: {document.get('message') or text.strip() or reason} ({status}){owned}",
        next_step="apply with force=True to take the fields over, or leave them out" if fields else _NEXT.get(status),
        status=status,
        reason=document.get("reason") or reason,
        body=document or text,
        fields=tuple(field for field, _ in fields),
    )


def unreachable(call: Call, error: Exception) -> ApiError:
    """The error for no answer at all: nothing listens, the connection broke, or the time was over."""
    return ApiError(
        f"cannot {call}: the API server did not answer: {type(error).__name__}: {error}",
        next_step="look at component_logs(), and in the cluster's directory: died.json names what has ended",
        reason=type(error).__name__,
    )


def _status(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _owned_fields(status: dict[str, Any]) -> list[tuple[str, str]]:
    causes = (status.get("details") or {}).get("causes") or []
    return [(c.get("field", ""), c.get("message", "")) for c in causes if c.get("reason") == "FieldManagerConflict"]
