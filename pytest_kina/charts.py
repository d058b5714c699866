"""Helm charts as a spec names them: plain values that can be compared, hashed and written down."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_RELEASE = 53  # what Helm allows
_LONGEST_NAMESPACE = 63
_KEYS = frozenset({"chart", "values", "release", "namespace"})

EXPECTED = (
    "a chart's path, {'chart': path, 'values': path, list of paths or mapping, 'release': name, 'namespace': name}, "
    "or a list of them"
)
"""What a declaration may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: the absolute ``path`` of its folder or archive, and the release that is made of it.

    ``files`` are absolute paths of values, the later ones over the earlier; ``values`` (JSON) goes over all of them.
    """

    path: str
    release: str
    namespace: str = "default"
    files: tuple[str, ...] = ()
    values: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The chart that ``dataclasses.asdict`` made plain. Raises :class:`TypeError` for anything else."""
        return cls(**{**document, "files": tuple(document.get("files", ()))})


def is_declaration(value: Any) -> bool:
    """Whether ``value`` is what :data:`EXPECTED` says."""
    return bool(value) and all(_is_chart(each) for each in (value if isinstance(value, list | tuple) else [value]))


def declared(value: Any, base: Path) -> tuple[Chart, ...]:
    """The charts of a declaration, with absolute paths; releases without a name are called like their charts."""
    return tuple(_chart(each, base) for each in (value if isinstance(value, list | tuple) else [value]))


def _chart(value: Any, base: Path) -> Chart:
    keys: Mapping[str, Any] = {"chart": value} if isinstance(value, str) else value
    values = keys.get("values", ())
    inline = json.dumps(values, sort_keys=True) if isinstance(values, Mapping) else ""
    paths: Iterable[str] = () if inline else [values] if isinstance(values, str) else values
    return Chart(
        path=os.path.abspath(base / keys["chart"]),  # noqa: PTH100 - links stay what they are
        release=keys.get("release") or _release(Path(keys["chart"]).name),
        namespace=keys.get("namespace", "default"),
        files=tuple(os.path.abspath(base / path) for path in paths),  # noqa: PTH100
        values=inline,
    )


def _release(file: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\.tgz$", "", file.lower()))
    return plain[:_LONGEST_RELEASE].strip("-") or "chart"


def _is_chart(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    if not isinstance(value, Mapping) or not {"chart"} <= set(value) <= _KEYS:
        return False
    return (
        isinstance(value["chart"], str)
        and bool(value["chart"])
        and _is_name(value.get("release", "a"), _LONGEST_RELEASE)
        and _is_name(value.get("namespace", "a"), _LONGEST_NAMESPACE)
        and _are_values(value.get("values", {}))
    )


def _is_name(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and _NAME.fullmatch(value) is not None


def _are_values(value: Any) -> bool:
    if isinstance(value, Mapping):
        try:
            json.dumps(value, sort_keys=True)
        except (TypeError, ValueError):
            return False
        return True
    paths = [value] if isinstance(value, str) else value
    return isinstance(paths, list | tuple) and bool(paths) and all(isinstance(path, str) and path for path in paths)
