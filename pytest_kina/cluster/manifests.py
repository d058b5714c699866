"""Manifests: from a file, a folder, objects or YAML text to a list of objects, each of which knows where it is from.

YAML is read as Kubernetes reads it (YAML 1.1 without dates, base-60 numbers and the ``=`` value type): PyYAML would
turn ``2026-01-01`` into a date that JSON cannot carry, ``22:22`` into 1342, and refuse the ``=`` of some CRDs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pytest_kina.errors import ManifestError

Source = str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]

_SUFFIXES = (".yaml", ".yml", ".json")
_DROPPED = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", "tag:yaml.org,2002:int"}
_INTEGER = re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(?:0|[1-9][0-9_]*))$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One object to apply, and ``place``: the file and the number of the document in it, or of the argument."""

    place: str
    content: Mapping[str, Any]

    @property
    def api_version(self) -> str:
        """For example ``apps/v1``."""
        return str(self.content["apiVersion"])

    @property
    def kind(self) -> str:
        """For example ``Deployment``."""
        return str(self.content["kind"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.content["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """The namespace that the manifest names, if it names one."""
        namespace: str | None = self.content["metadata"].get("namespace")
        return namespace

    @property
    def is_crd(self) -> bool:
        """True for the definition of a custom resource."""
        return self.kind == "CustomResourceDefinition"

    @property
    def is_namespace(self) -> bool:
        """True for a namespace."""
        return self.kind == "Namespace" and self.api_version == "v1"


def load(source: Source) -> list[Manifest]:
    """All objects in ``source``, in order; empty documents are skipped and ``List`` objects taken apart.

    A string with a line break or ``: `` is YAML text, any other a path. Of a folder the ``*.yaml``, ``*.yml`` and
    ``*.json`` files count, sorted by name, not those of its folders. Raises :class:`ManifestError`.
    """
    manifests = [manifest for place, document in _documents(source) for manifest in _manifests(place, document)]
    if not manifests:
        raise ManifestError(f"there is no object in {_described(source)}", next_step="check the path or the text")
    return manifests


def load_text(text: str, place: str) -> list[Manifest]:
    """The objects in YAML that something else has written, which may be none. Raises :class:`ManifestError`."""
    return [manifest for where, document in _parsed(place, text) for manifest in _manifests(where, document)]


def _documents(source: Source) -> Iterator[tuple[str, Any]]:
    if isinstance(source, Path):
        for path in files(source):
            yield from _parsed(str(path), path.read_bytes())
    elif isinstance(source, str):
        yield from _parsed("the text", source) if "\n" in source or ": " in source else _documents(Path(source))
    elif isinstance(source, Mapping):
        yield "the argument", source
    elif isinstance(source, Sequence):
        yield from ((f"the argument, item {number}", item) for number, item in enumerate(source, 1))
    else:
        raise ManifestError(
            f"cannot apply a {type(source).__name__}",
            next_step="pass a path, YAML text, a dict or a list of dicts",
        )


def files(path: Path) -> list[Path]:
    """The files that :func:`load` reads for ``path``. Raises :class:`ManifestError` when there is nothing."""
    if path.is_dir():
        return sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES and entry.is_file())
    if not path.is_file():
        raise ManifestError(
            f"there is no file or folder {str(path)!r} (looked in {Path.cwd()})",
            next_step="give a path that exists; YAML text needs a line break or ': '",
        )
    return [path]


def _parsed(place: str, text: str | bytes) -> Iterator[tuple[str, Any]]:
    import yaml

    try:
        for number, document in enumerate(yaml.load_all(text, Loader=_loader()), 1):
            if document is not None:
                yield f"{place}, document {number}", document
    except yaml.YAMLError as error:
        raise ManifestError(f"{place} is not YAML: {error}", next_step="correct the text at that line") from error


@cache
def _loader() -> Any:
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in _DROPPED]
        for first, entries in base.yaml_implicit_resolvers.items()
    }
    loader: Any = type("ManifestLoader", (base,), {"yaml_implicit_resolvers": resolvers})
    loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
    return loader


def _manifests(place: str, document: Any) -> Iterator[Manifest]:
    if not isinstance(document, Mapping):
        raise _unusable(place, f"is a {type(document).__name__}, not an object", "separate objects with ---")
    if isinstance(document.get("items"), list) and str(document.get("kind", "")).endswith("List"):
        for number, item in enumerate(document["items"], 1):
            yield from _manifests(f"{place}, item {number}", item)
        return
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str):
            raise _unusable(place, f"has no {key}", f"add `{key}:` at its top level")
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        kind = document["kind"]
        raise _unusable(place, f"({kind}) has no metadata.name", "name it; server-side apply needs a fixed name")
    try:
        json.dumps(document)
    except (TypeError, ValueError) as error:
        raise _unusable(place, f"holds what JSON cannot say: {error}", "use dicts, lists, text and numbers") from error
    yield Manifest(place=place, content=document)


def _unusable(place: str, problem: str, next_step: str) -> ManifestError:
    return ManifestError(f"{place} {problem}", next_step=next_step, place=place)


def _described(source: Source) -> str:
    return repr(str(source)) if isinstance(source, (str, Path)) else "the argument"
