"""The image that a cluster's nodes are made of: known for a version, named by the user, or in an archive of theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.progress import Progress
from pytest_kina.providers.containers.archives import references_in
from pytest_kina.providers.containers.local_images import LocalImages
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.spec import ARCHIVES, ClusterSpec

OPTION = "node_image"


def reference(spec: ClusterSpec, known: Callable[[], str], mirrors: Mirrors) -> str:
    """The image's reference: the one at its registry's mirror if there is one; of an archive one for its content alone.

    ``known`` is the image for the spec's version. Raises :class:`SpecError` for what is no archive of one image.
    """
    if archive := _archive(spec):
        return _name_of(archive)
    return mirrors.reference(str(dict(spec.provider_options).get(OPTION) or known()))


def have(spec: ClusterSpec, image: str, images: LocalImages, progress: Progress) -> str:
    """Have the ``image`` that :func:`reference` told, loaded or pulled; returns its name and digest.

    Raises :class:`ProvisionError`.
    """
    if archive := _archive(spec):
        images.have_loaded(archive, image, progress)
    else:
        images.have([image], progress)
    return f"{image} {images.store.digest(image)}"


def _archive(spec: ClusterSpec) -> Path | None:
    named = dict(spec.provider_options).get(OPTION)
    return Path(named).expanduser() if isinstance(named, str) and named.endswith(ARCHIVES) else None


def _name_of(archive: Path) -> str:
    """``localhost/kina-DIGITS/kindest/node:v1.36.1``: two archives may call different images alike."""
    try:
        file = archive.stat()
    except OSError as error:
        raise SpecError(
            f"provider_options: node_image={str(archive)!r} cannot be read: {error.strerror}",
            next_step="save the image, or correct the path",
        ) from error
    name = _only_image(archive, file.st_size, file.st_mtime_ns).partition("/")[2]
    mark = hashlib.sha256(f"{archive.resolve()} {file.st_size} {file.st_mtime_ns}".encode()).hexdigest()
    return f"localhost/kina-{mark[:12]}/{name}"


@lru_cache
def _only_image(archive: Path, _size: int, _changed: int) -> str:
    """Looking into a compressed archive takes seconds, and each worker asks several times."""
    try:
        names = references_in(archive)
    except ProvisionError as error:
        raise SpecError(f"provider_options: node_image: {error.message}", next_step=error.next_step) from error
    if len(names) != 1:
        raise SpecError(
            f"provider_options: node_image={str(archive)!r} has several images: {', '.join(names)}",
            next_step="save the node image alone",
        )
    return names[0]
