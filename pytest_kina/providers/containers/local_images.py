"""Images of this machine: pulled once where they are missing, loaded from archives, and saved as archives.

Several processes of several runs want the same image at the same moment; one of them fetches it under a lock, and the
others find it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_kina.errors import CommandError, ProvisionError
from pytest_kina.files import private_directory
from pytest_kina.progress import Progress
from pytest_kina.providers.containers.archives import PULL_SECONDS, Archives, references_in
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.providers.containers.programs import complaint


class ImageStore(Protocol):
    """What keeps the images of a machine: docker, podman, nerdctl or ``container``. Raises :class:`CommandError`."""

    @property
    def name(self) -> str:
        """Its program's name."""

    def digest(self, image: str) -> str:
        """What identifies the content of a local image; empty when there is no such image."""

    def pull(self, image: str, *, plain: bool) -> None:
        """Fetch it from its registry, without TLS if ``plain`` and the program takes that from its caller."""

    def tag(self, image: str, name: str) -> None:
        """Give a local image another name."""

    def load(self, archive: Path) -> None:
        """Add the images of an archive."""

    def save(self, image: str, path: Path) -> None:
        """Write an archive of a local image."""


@dataclass(frozen=True, slots=True)
class LocalImages:
    """The images that ``store`` has; ``folder`` holds archives and the lock of all who fetch."""

    store: ImageStore
    folder: Path
    mirrors: Mirrors
    offline: bool

    def have(self, images: Iterable[str], progress: Progress) -> None:
        """Pull those ``images`` that are not there, from the mirror of their registry where it has one.

        Raises :class:`ProvisionError` that says why it could not, and filelock's ``Timeout``.
        """
        with self._fetching():
            for image in images:
                if not self.store.digest(image):
                    self._pull(image, progress)

    def have_loaded(self, archive: Path, name: str, progress: Progress) -> None:
        """Have the image of ``archive`` under ``name``, which no other content ever gets. Raises like :meth:`have`."""
        with self._fetching():
            if self.store.digest(name):
                return
            progress(f"loading {archive}")
            try:
                self.store.load(archive)
                self.store.tag(references_in(archive)[0], name)
            except CommandError as error:
                raise ProvisionError(f"{self.store.name} could not load {archive}: {complaint(error)}") from error

    def archive(self, image: str, progress: Progress) -> Path:
        """The archive of ``image``, saved once per content; an absent image is pulled. Raises like :meth:`have`."""
        self.have([image], progress)
        return Archives(self.folder).obtain(
            f"{self.store.digest(image)} {image}", lambda path: self.store.save(image, path)
        )

    def _fetching(self) -> AbstractContextManager[object]:
        from filelock import FileLock

        lock = private_directory(self.folder) / f"pull-{self.store.name}.lock"
        return FileLock(lock, timeout=PULL_SECONDS, fallback_to_soft=False)

    def _pull(self, image: str, progress: Progress) -> None:
        if self.offline:
            raise ProvisionError(
                f"the image {image} is not on this machine, and --kina-offline forbids pulling it",
                next_step="run `pytest-kina prefetch` where there is a network",
            )
        source = self.mirrors.reference(image)
        plain = self.mirrors.plain(source)
        progress(f"pulling {source}")
        try:
            self.store.pull(source, plain=plain)
            if source != image:
                self.store.tag(source, image)
        except CommandError as error:
            raise ProvisionError(
                f"{self.store.name} has no image {image!r} on this machine, and could not pull {source}: "
                + complaint(error),
                next_step=_advice(self.store.name, plain, complaint(error)),
            ) from error


def _advice(engine: str, plain: bool, said: str) -> str:
    if plain and engine == "docker" and "HTTP response to HTTPS client" in said:
        return "name the mirror in `insecure-registries` of docker's daemon.json: docker takes that from nowhere else"
    return "build it, correct its name, or see to the network"
