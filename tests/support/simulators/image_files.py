"""Image archives and digests of the simulated tools; few commands need them, and importing this takes a while."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

from state import Failed


def digest(content: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pack(images: dict[str, str], *, index: bool) -> bytes:
    """An archive in the form of the OCI image layout; ``index``: of several platforms, which CRI may not resolve."""
    kind = "application/vnd.oci.image.index.v1+json" if index else "application/vnd.oci.image.manifest.v1+json"
    manifests = [
        {"mediaType": kind, "digest": digest, "annotations": {"io.containerd.image.name": reference}}
        for reference, digest in images.items()
    ]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, document in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"manifests": manifests}),
        ):
            data = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def archived(archive: bytes) -> dict[str, str]:
    """The digests of the images in an archive, by full reference."""
    return {each["annotations"]["io.containerd.image.name"]: each["digest"] for each in manifests(archive)}


def manifests(archive: bytes) -> list[dict[str, Any]]:
    """What the archive's index lists. Raises :class:`Failed` as containerd does."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            stream = content.extractfile("index.json")
            found: list[dict[str, Any]] = json.load(stream)["manifests"] if stream else []
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise Failed(f"ctr: unrecognized image format: {error}") from error
    return found
