"""The one context of the one kubeconfig that the user has named, and a private copy of it.

Nothing is looked for: neither ``KUBECONFIG`` nor the file in the home directory nor a current context decides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pytest_kina.errors import ProviderUnavailableError

_FILES = ("certificate-authority", "client-certificate", "client-key")
_NEXT = "name them with --kina-kubeconfig, --kina-context and --kina-allow-context, or in [tool.kina]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the user has named: a file, a context in it, and a pattern (``kind-*``) that the context must match."""

    kubeconfig: Path | None
    context: str | None
    allow_context: str | None

    def copy(self, name: str) -> bytes:
        """A kubeconfig with this context alone, called ``name``, that refers to no file by a relative path.

        The user keeps their name, for messages.

        Raises :class:`ProviderUnavailableError` when something is not named, not there or not allowed.
        """
        document = self._document()
        context = self._entry(document, "context", str(self.context))
        cluster = self._entry(document, "cluster", context.get("cluster"))
        user = self._entry(document, "user", context.get("user"))
        copied = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": context["user"]}}],
            "clusters": [{"name": name, "cluster": self._self_contained(cluster)}],
            "users": [{"name": context["user"], "user": self._self_contained(user)}],
        }
        return json.dumps(copied, indent=2).encode() + b"\n"

    def _document(self) -> Mapping[str, Any]:
        import yaml

        named = {"kubeconfig": self.kubeconfig, "context": self.context, "allow_context": self.allow_context}
        if missing := [option for option, value in named.items() if not value]:
            raise _unavailable(f"it uses no cluster that was not named: {', '.join(missing)} not set", _NEXT)
        if not fnmatchcase(str(self.context), str(self.allow_context)):
            raise _unavailable(
                f"context {self.context!r} does not match allow_context {self.allow_context!r}",
                "use a context for tests; allow another one only if its cluster may be written to",
            )
        assert self.kubeconfig is not None, "it is named"
        try:
            document = yaml.safe_load(self.kubeconfig.read_bytes())
        except (OSError, yaml.YAMLError) as error:
            raise _unavailable(f"{self.kubeconfig} cannot be read: {_first_line(error)}", _NEXT) from error
        if not isinstance(document, Mapping):
            raise _unavailable(f"{self.kubeconfig} is not a kubeconfig", _NEXT)
        return document

    def _entry(self, document: Mapping[str, Any], kind: str, name: Any) -> Mapping[str, Any]:
        entries = document.get(f"{kind}s")
        entries = entries if isinstance(entries, list) else []
        found = {str(entry.get("name")): entry.get(kind) for entry in entries if isinstance(entry, Mapping)}
        if not isinstance(entry := found.get(str(name)), Mapping):
            known = ", ".join(sorted(found)) or "none"
            raise _unavailable(f"{self.kubeconfig} has no {kind} {name!r}; it has {known}", _NEXT)
        return entry

    def _self_contained(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        assert self.kubeconfig is not None, "it has been read"
        folder, changed = self.kubeconfig.absolute().parent, dict(entry)
        for key in _FILES:
            if (path := changed.pop(key, None)) and f"{key}-data" not in changed:
                changed[f"{key}-data"] = base64.b64encode(_content(folder / path)).decode()
        if token := changed.get("tokenFile"):  # read anew at each use: whoever rotates it goes on doing so
            changed["tokenFile"] = str(folder / token)
        command = changed.get("exec")
        if isinstance(command, Mapping) and "/" in str(command.get("command")):
            changed["exec"] = {**command, "command": str(folder / command["command"])}
        return changed


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unavailable(f"the kubeconfig refers to {path}: {error.strerror}", _NEXT) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _unavailable(problem: str, next_step: str) -> ProviderUnavailableError:
    return ProviderUnavailableError(problem, next_step=next_step)
