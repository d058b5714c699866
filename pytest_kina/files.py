"""Files that other processes read: written whole or not at all, private, versioned.

A reader never sees half a file: content goes to a sibling and is moved into place. Every JSON document carries an
integer ``schema``; a newer one is not ours to judge, a malformed one is moved aside as evidence and reported.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


class NewerSchema(Exception):
    """The document was written by a newer version of the plugin: leave it, and what it describes, alone."""


class Torn(Exception):
    """The document is empty, truncated or not ours; it has been moved aside. ``str()`` says where to."""


def write_atomic(path: Path, content: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Replace ``path`` by ``content`` in one step.

    ``sync`` forces content and directory to the disk, for what must survive a power loss. Raises :class:`OSError`
    (for example ENOSPC); the old content then stands, and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def private_directory(path: Path) -> Path:
    """``path`` as a directory; what is missing of it is created with mode 0700, the parents too.

    Raises :class:`OSError`. (``Path.mkdir(parents=True)`` opens the parents that it creates to everybody.)
    """
    if not path.is_dir():
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def sync_directory(path: Path) -> None:
    """Force the entries of a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, schema: int, fields: Mapping[str, Any], *, sync: bool = False) -> None:
    """Replace ``path`` by a JSON object that carries ``schema`` and ``fields``. Raises :class:`OSError`."""
    write_atomic(path, json.dumps({"schema": schema, **fields}, sort_keys=True).encode() + b"\n", sync=sync)


def read_json(path: Path, schema: int) -> dict[str, Any] | None:
    """The object in ``path``; None when there is no such file.

    Raises :class:`NewerSchema` for a later schema, and :class:`Torn` (after moving the file aside, so that the
    evidence stays) when it is not a JSON object with an integer ``schema``. Call it with the lock held that
    protects the file: only its holder may move it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    document = _parse(content)
    if document is None:
        aside = path.with_name(f"{path.name}.torn-{secrets.token_hex(4)}")
        os.replace(path, aside)
        _log.warning("%s is not a document of ours; moved aside to %s", path, aside)
        raise Torn(str(aside))
    if document["schema"] > schema:
        raise NewerSchema(f"{path} has schema {document['schema']}, this version knows {schema}")
    return document


def peek_json(path: Path, schema: int) -> dict[str, Any] | None:
    """Like :func:`read_json` for readers without the lock: anything unusable is None, and nothing is moved."""
    try:
        document = _parse(path.read_bytes())
    except OSError:
        return None
    return document if document and document["schema"] <= schema else None


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    schema = document.get("schema")
    return document if isinstance(schema, int) and not isinstance(schema, bool) else None
