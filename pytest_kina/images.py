"""Images of this machine for the pods of a cluster: made an archive beforehand, loaded when the cluster is leased.

They shape no cluster: one that stands already serves whoever needs other images, and gets those as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.errors import ProvisionError, SpecError
from pytest_kina.pool.actor import place_of
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import LoadsImages, Provider, SavesImages, measured_with
from pytest_kina.spec import ARCHIVES
from pytest_kina.timing import Phase, TimingRecorder

if TYPE_CHECKING:
    from pytest_kina.pool import Lease, Root


def archives(provider: Provider, images: Sequence[str], progress: Progress = silent) -> dict[str, Path]:
    """The archive of each image: the file itself where one is named, else what the provider saves, or pulls before.

    Slow the first time. Raises :class:`SpecError` for a file that is not there, and for a name where the provider
    knows no images of this machine; :class:`ProvisionError` where there is no such image, and none can be pulled.
    """
    return {image: _archive(provider, image, progress) for image in images}


def _archive(provider: Provider, image: str, progress: Progress) -> Path:
    if image.endswith(ARCHIVES):
        path = Path(image).expanduser().absolute()
        if not path.is_file():
            raise SpecError(f"images: there is no archive {path}", next_step="save it, or correct the path")
        return path
    if not isinstance(provider, SavesImages):
        raise SpecError(
            f"images: provider {provider.info.name!r} knows no images of this machine by name, like {image!r}",
            next_step="name an archive: images=['app.tar']",
        )
    if "@" in image:
        raise SpecError(
            f"images: {image!r} has a digest, and archives keep names with tags only", next_step="name its tag"
        )
    return provider.save_image(image, progress)


def load(lease: Lease, root: Root, recorder: TimingRecorder, timeout: float) -> None:
    """Load the images of a lease's spec into its cluster, measured as ``image_load``; ``timeout`` seconds for each.

    Raises :class:`ProvisionError`.
    """
    provider, spec = lease.want.provider, lease.want.spec
    if not isinstance(provider, LoadsImages):
        raise ProvisionError(f"provider {provider.info.name!r} loads no images", cluster=lease.name)
    place = place_of(root, lease.number, lease.name)
    stopwatch = recorder.bind(
        cluster=lease.name,
        **measured_with(provider, lease.want.identity),
        kubernetes=lease.want.identity.get("kubernetes", ""),
        profile=spec.profile,
        nodes=spec.simulated_nodes,
        start=lease.start,
    )
    for archive in archives(provider, spec.images).values():
        with stopwatch.phase(Phase.IMAGE_LOAD):
            provider.load_image(place, archive, timeout)
