"""``kindest/node``: the node image that kind publishes and others use, and the Kubernetes version that it runs."""

from __future__ import annotations

import re

from pytest_kina.errors import SpecError

_PATCHES = {"1.32": "1.32.11", "1.33": "1.33.7", "1.34": "1.34.3", "1.35": "1.35.5", "1.36": "1.36.1"}
"""Minor versions with a published image, and the patch of it."""


def image_for(version: str) -> str:
    """The image of a version, or of the patch that is published for a minor version. Raises :class:`SpecError`."""
    patch = _PATCHES.get(version, version)
    if patch.count(".") != 2 or patch.rpartition(".")[0] not in _PATCHES:
        raise SpecError(
            f"no kindest/node image is known for Kubernetes {version}; known are {', '.join(_PATCHES)}",
            next_step="choose one of these, or a patch of one, or provider_options={'node_image': ...}",
        )
    return f"kindest/node:v{patch}"


def version_of(image: str) -> str:
    """The version (``v1.36.1``) that the tag of a node image tells. Raises :class:`SpecError`."""
    found = re.search(r":(v\d+\.\d+\.\d+)(@sha256:[0-9a-f]+)?$", image)
    if found is None:
        raise SpecError(f"provider_options: node_image={image!r} has no tag like v1.36.1 that tells its version")
    return found[1]
