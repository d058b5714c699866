"""The way into a cluster that a tool made: its kubeconfig, taken over into a private one, and proven complete.

A tool's exit code 0 does not mean that there is a kubeconfig, nor that it names a server. So what it wrote is parsed,
reduced to one context, and kept in the cluster's own directory; the tool's file is never used again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_kina.errors import ProvisionError
from pytest_kina.files import private_directory, write_atomic
from pytest_kina.waiting import Probe

_CHECK_SECONDS = 2.0
_NEEDED = {
    "cluster": ("server", "certificate-authority-data"),
    "user": ("client-certificate-data", "client-key-data"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """The private kubeconfig of the cluster that lives in ``directory``, and the same as files for the probe."""

    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (0600), with one context."""
        return self.directory / "kubeconfig"

    def take_over(self, text: str, *, cluster: str, origin: str, context: str = "", host: str = "") -> None:
        """Keep the kubeconfig ``text``, whose origin is told in errors, under the name ``cluster``.

        ``context`` is the context to take (default: the current one); ``host`` replaces the server's host, for a
        machine whose live address is known better. Raises :class:`ProvisionError` when it is not complete.
        """
        server, user = _entries(text, cluster, origin, context)
        if host:
            server["server"] = f"https://{host}:{urlsplit(server['server']).port or 443}"
        folder = private_directory(self._folder)
        write_atomic(folder / "ca.crt", base64.b64decode(server["certificate-authority-data"]))
        pair = [base64.b64decode(user[key]).strip() + b"\n" for key in _NEEDED["user"]]
        write_atomic(folder / "admin.pem", b"".join(pair))
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {key: server[key] for key in _NEEDED["cluster"]}}],
            "users": [{"name": "kina-admin", "user": {key: user[key] for key in _NEEDED["user"]}}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": "kina-admin"}}],
            "current-context": cluster,
        }
        write_atomic(self.kubeconfig, json.dumps(document, indent=1).encode() + b"\n")

    def probe(self, timeout: float = 5.0) -> Probe:
        """A connection as the administrator; ``timeout`` per request in seconds.

        Raises :class:`OSError` and :class:`ValueError` when nothing complete was kept.
        """
        try:
            url = urlsplit(json.loads(self.kubeconfig.read_bytes())["clusters"][0]["cluster"]["server"])
        except (LookupError, TypeError) as error:
            raise ValueError(f"{self.kubeconfig} is not a kubeconfig of ours") from error
        certificate = self._folder / "admin.pem"
        return Probe(
            url.hostname or "", url.port or 443, ca=self._folder / "ca.crt", certificate=certificate, timeout=timeout
        )

    def unready(self) -> str | None:
        """One sentence that says why the cluster is not ready, from ``/readyz``, or None. Raises like :meth:`probe`."""
        with closing(self.probe(_CHECK_SECONDS)) as probe:
            status, body = probe.get("/readyz")
        return None if status == 200 else f"/readyz was answered with {status}: {body[:200].decode(errors='replace')}"

    @property
    def _folder(self) -> Path:
        return self.directory / "access"


def _entries(text: str, cluster: str, origin: str, context: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of the chosen context."""
    import yaml

    try:
        document = yaml.safe_load(text)
        chosen = _named(document["contexts"], "context")[context or document["current-context"]]
        server = _named(document["clusters"], "cluster")[chosen["cluster"]]
        user = _named(document["users"], "user")[chosen["user"]]
        parts = {"cluster": server, "user": user}
        missing = [key for part, keys in _NEEDED.items() for key in keys if not parts[part].get(key)]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(cluster, origin, f"it has no usable context ({type(error).__name__}: {error})", text) from error
    if missing:
        raise _unusable(cluster, origin, f"it lacks {', '.join(missing)}", text)
    return dict(server), dict(user)


def _named(entries: Any, kind: str) -> dict[str, Mapping[str, Any]]:
    return {entry["name"]: entry[kind] for entry in entries}


def _unusable(cluster: str, origin: str, why: str, text: str) -> ProvisionError:
    shown = text.strip()[:200] or "(nothing)"
    private = "data:" in shown  # never print keys
    return ProvisionError(
        f"cluster {cluster}: {origin} gave no usable kubeconfig: {why}" + ("" if private else f"; it gave:\n{shown}"),
        next_step="the cluster is deleted; if this happens again, look at the tool's own log",
        cluster=cluster,
    )
