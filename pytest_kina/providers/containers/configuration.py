"""A tool's own configuration, named by the user: read, compared with what the spec says besides, and completed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kina.errors import SpecError
from pytest_kina.spec import ClusterSpec

_OPTION = "config"


def users_own(spec: ClusterSpec, kind: str) -> dict[str, Any] | None:
    """The document of ``provider_options["config"]`` (a path, or JSON), whose ``kind`` must be this; None without.

    Raises :class:`SpecError` that names the file and what is wrong with it.
    """
    if not (named := str(dict(spec.provider_options).get(_OPTION, ""))):
        return None
    document = json.loads(named) if named.startswith("{") else _read(Path(named))
    if not isinstance(document, dict) or document.get("kind") != kind:
        got = document.get("kind") if isinstance(document, dict) else document
        raise SpecError(
            f"provider_options: {_called(named)} is no such configuration: expected `kind: {kind}`, got {got!r}",
            next_step="name a configuration of this provider's tool",
        )
    return document


def agreed(key: str, said: Any, configured: Any, where: str) -> None:
    """Raise :class:`SpecError` when the spec's ``key`` and the configuration's ``where`` contradict each other."""
    if configured != said:
        raise SpecError(
            f"{key}: the spec says {said!r}, but {where} of provider_options' config says {configured!r}",
            next_step="say it once: in the spec, or in the configuration",
        )


def refuse_keys(document: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Raise :class:`SpecError` for those ``keys`` of a configuration that are said otherwise, as their value tells."""
    if found := [f"{key}: {instead}" for key, instead in keys.items() if key in document]:
        raise SpecError(f"provider_options: config has {'; '.join(found)}", next_step="leave it out of the config")


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.expanduser().read_bytes())
    except (OSError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise SpecError(
            f"provider_options: config={str(path)!r} cannot be read: {why}",
            next_step="name a YAML file, from the project's directory on",
        ) from error


def _called(named: str) -> str:
    return "config={...}" if named.startswith("{") else f"config={named!r}"
