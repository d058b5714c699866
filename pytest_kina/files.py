"""Files that other processes read: written whole or not at all, private, versioned.

A reader never sees half a file: content goes to a sibling and is moved into place. Every JSON document carries an
integer ``schema``; a newer one is not ours to judge, a malformed one is moved aside as evidence and reported.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pytest_kina import crashpoints

_TAIL = 65536
_HERE = -100  # AT_FDCWD: names are as this process understands them
_EXCHANGE = 2  # RENAME_EXCHANGE
_log = logging.getLogger(__name__)


class NewerSchema(Exception):
    """The document was written by a newer version of the plugin: leave it, and what it describes, alone."""


class Torn(Exception):
    """The document is empty, truncated or not ours; it has been moved aside. ``str()`` says where to."""


def write_atomic(
    path: Path, content: bytes | Iterable[bytes], *, mode: int = 0o600, sync: bool = False, passing: bool = False
) -> None:
    """Replace ``path`` by ``content`` in one step; what is too large for memory comes in pieces.

    ``sync`` forces content and directory to the disk, for what must survive a power loss. ``passing`` spares the disk,
    for what is soon written again and may be empty after a power loss. Raises :class:`OSError`
    (for example ENOSPC); the old content then stands, and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with crashpoints.around("file.write"):
            _write(temporary, content, mode, sync=sync)
        with crashpoints.around("file.move"):
            if not (passing and _exchanged(temporary, path)):
                os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def _exchanged(temporary: Path, path: Path) -> bool:
    """Whether ``path`` is now what ``temporary`` was, which is gone; False when nothing was done.

    ext4 writes a file to the disk when it is renamed over another one (ext4(5), ``auto_da_alloc``), and whoever renames
    over that one next waits for it: milliseconds on a busy disk. Two names that are exchanged (rename(2),
    ``RENAME_EXCHANGE``) cost none of it, and readers see one file or the other all the same.
    """
    exchange = _exchange()
    try:
        if exchange is None or not stat.S_ISREG(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    if exchange(_HERE, os.fsencode(temporary), _HERE, os.fsencode(path), _EXCHANGE) != 0:
        return False  # the file has just gone, or the file system cannot do it
    with suppress(OSError):  # what was to be written is written
        temporary.unlink()
    return True


@cache
def _exchange() -> Callable[..., int] | None:
    """``renameat2`` of the C library, where there is one (Linux)."""
    import ctypes  # 5 ms that a run without clusters need not pay

    try:
        function: Callable[..., int] = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    return function


def _write(path: Path, content: bytes | Iterable[bytes], mode: int, *, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.writelines((content,) if isinstance(content, bytes) else content)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())


def append_line(path: Path, line: str) -> None:
    """Add ``line`` to a file that is made 0600. Lines of concurrent processes never mix. Raises :class:`OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab", buffering=0) as stream:
        stream.write(line.encode() + b"\n")


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


def write_json(
    path: Path, schema: int, fields: Mapping[str, Any], *, sync: bool = False, passing: bool = False
) -> None:
    """Replace ``path`` by a JSON object that carries ``schema`` and ``fields``; see :func:`write_atomic`.

    Raises :class:`OSError`.
    """
    content = json.dumps({"schema": schema, **fields}, sort_keys=True).encode() + b"\n"
    write_atomic(path, content, sync=sync, passing=passing)


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


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines of a file that may be large and still be written to, of at most 64 KiB.

    Empty when it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            content = stream.read()
    except OSError:
        return ""
    return "\n".join(content.decode(errors="replace").splitlines()[-lines:]) if lines > 0 else ""


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    schema = document.get("schema")
    return document if isinstance(schema, int) and not isinstance(schema, bool) else None
