"""Image archives: saved once per content, kept by its digest, and read for the names that are in them.

Several processes of several runs want the same archive at the same moment; the first one saves it, the others wait for
its lock and find it. A file that nobody used for a month is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_kina.errors import ProvisionError
from pytest_kina.files import private_directory

_UNUSED_SECONDS = 30 * 86400.0
_LOCK_SECONDS = 600.0
PULL_SECONDS = 900.0
"""How long one image may take to be pulled or saved."""


class Archives:
    """The archives in one directory, which all runs of this user share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def obtain(self, digest: str, save: Callable[[Path], None]) -> Path:
        """The archive of the image whose content is ``digest``; ``save`` writes it where there is none.

        Raises what ``save`` raises, :class:`OSError`, and filelock's ``Timeout``.
        """
        from filelock import FileLock

        key = hashlib.sha256(digest.encode()).hexdigest()
        path = private_directory(self._folder) / f"{key}.tar"
        with FileLock(self._folder / f"{key}.lock", timeout=_LOCK_SECONDS, fallback_to_soft=False):
            if not path.exists():
                self._save(path, save)
            os.utime(path.with_suffix(".lock"))
        self._forget_unused()
        return path

    def _save(self, path: Path, save: Callable[[Path], None]) -> None:
        temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            save(temporary)
            references_in(temporary)  # what is no archive is not kept
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _forget_unused(self) -> None:
        for lock in self._folder.glob("*.lock"):
            with suppress(OSError):
                if time.time() - lock.stat().st_mtime > _UNUSED_SECONDS:
                    lock.with_suffix(".tar").unlink()


def references_in(archive: Path) -> list[str]:
    """The full references of the images in an archive (OCI image layout, or what ``docker save`` writes).

    Raises :class:`ProvisionError` when it is neither, or names no image.
    """
    try:
        with tarfile.open(archive) as content:
            found = _names(content)
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProvisionError(f"{archive} is not an image archive: {type(error).__name__}: {error}") from error
    if not found:
        raise ProvisionError(f"{archive} names no image", next_step="save it with its name: `docker save NAME`")
    return sorted({full_reference(name) for name in found})


def full_reference(image: str) -> str:
    """``docker.io/library/app:latest`` for ``app``: the form under which a node's runtime finds it."""
    name = image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _names(content: tarfile.TarFile) -> list[str]:
    members = content.getnames()
    if "manifest.json" in members:
        return [tag for image in _read(content, "manifest.json") for tag in image["RepoTags"] or ()]
    annotations = [entry.get("annotations") or {} for entry in _read(content, "index.json")["manifests"]]
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    found = [next((each[key] for key in keys if key in each), "") for each in annotations]
    return [name for name in found if name]


def _read(content: tarfile.TarFile, name: str) -> Any:
    stream = content.extractfile(name)
    return json.load(stream) if stream else []
