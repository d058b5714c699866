"""Apple's ``container``: which version is there and what that means, its machines, and what is run in them.

Formats: apple/container 1.0 to 1.5 (``ManagedContainer.swift``, ``ReleaseVersion.swift``, docs/command-reference.md).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_kina.errors import CommandError, ProviderUnavailableError, ProvisionError
from pytest_kina.process import CommandResult, run_command
from pytest_kina.providers import Place
from pytest_kina.providers.containers.archives import PULL_SECONDS
from pytest_kina.providers.containers.nodes import load_once
from pytest_kina.providers.containers.programs import (
    Version,
    complaint,
    dotted,
    installed,
    plain_environment,
    version_in,
)

_log = logging.getLogger(__name__)

_OLDEST: Version = (1, 0, 0)
_MASKING: Version = (1, 2, 0)
"""From here on /proc/sys is read-only in a machine unless flags that came one release later say otherwise."""

PLATFORM = "linux/arm64"
"""Of every machine: Apple Container runs on Apple silicon only."""

_CTR = ("ctr", "-n", "k8s.io", "images")
_AT_ONCE = 2
_LOOK_SECONDS = 20.0
_FORCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A container, which is a virtual machine: its labels, its state, its address, and when it was started."""

    name: str
    labels: Mapping[str, str]
    state: str
    address: str
    started: str


@dataclass(frozen=True)
class Apple:
    """The installed ``container``."""

    program: Path

    @classmethod
    def find(cls) -> Apple:
        """The first on PATH. Raises :class:`ProviderUnavailableError`."""
        if not (found := installed("container")):
            raise ProviderUnavailableError(
                "Apple's `container` is not on PATH", next_step="install it from https://github.com/apple/container"
            )
        return cls(found[0])

    @cached_property
    def version(self) -> Version:
        """Its version. Raises :class:`ProviderUnavailableError` when it tells none, or one that cannot serve."""
        try:
            said = self.run("--version", timeout=_LOOK_SECONDS).stdout
        except CommandError as error:
            raise ProviderUnavailableError(f"{self.program} does not run: {complaint(error)}") from error
        version = version_in(said, "CLI version")
        if version is None:
            raise ProviderUnavailableError(f"{self.program} --version is not understood: {said.strip()[:200]!r}")
        if version < _OLDEST:
            raise ProviderUnavailableError(
                f"`container` {dotted(version)} is too old: {dotted(_OLDEST)} is the first that shows machines as JSON",
                next_step="upgrade `container`",
            )
        if version == _MASKING:
            raise ProviderUnavailableError(
                f"`container` {dotted(version)} makes /proc/sys read-only and has no flag against it, so no Kubernetes "
                "node starts in it",
                next_step="upgrade `container` to 1.2.1 or later",
            )
        return version

    @property
    def masks(self) -> bool:
        """Whether nodes need the flags that keep /proc/sys writable."""
        return self.version > _MASKING

    def refuse_stopped_service(self) -> None:
        """Raise :class:`ProviderUnavailableError` when the service behind the program does not run."""
        done = self.run("system", "status", "--format", "json", timeout=_LOOK_SECONDS, check=False)
        try:
            status = json.loads(done.stdout)["status"]
        except (ValueError, LookupError, TypeError):
            status = "unknown"
        # Only these two mean the same in every release; all other keys moved (1.4.1).
        if done.returncode != 0 or status != "running":
            raise ProviderUnavailableError(
                f"the service of `container` is {status}, not running", next_step="run `container system start`"
            )

    def run(
        self, *arguments: str | Path, timeout: float, check: bool = True, stdin: Path | None = None
    ) -> CommandResult:
        """Run it with ``arguments``; ``timeout`` in seconds. Raises :class:`CommandError`."""
        line = [self.program, *arguments]
        return run_command(line, timeout=timeout, env=plain_environment(), check=check, stdin=stdin)

    def machines(self) -> list[Machine]:
        """All that exist, running or not. Raises :class:`CommandError` and :class:`ProvisionError`."""
        said = self.run("list", "--all", "--format", "json", timeout=_LOOK_SECONDS).stdout
        try:
            return [_machine(element) for element in json.loads(said or "[]")]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ProvisionError(
                f"`container list --format json` gave something else than machines ({error!r}): {said.strip()[:200]!r}",
                next_step="run it by hand, and `container system status`",
            ) from error

    def labelled(self, label: str, value: str) -> list[Machine]:
        """The machines whose ``label`` is ``value``. Raises like :meth:`machines`."""
        return [machine for machine in self.machines() if machine.labels.get(label) == value]

    def inside(self, machine: str, *command: str, timeout: float, stdin: Path | None = None) -> str:
        """What ``command`` prints inside a machine. Raises :class:`CommandError`."""
        flags = ["-i"] if stdin else []
        return self.run("exec", *flags, machine, *command, timeout=timeout, stdin=stdin).stdout

    def digest(self, image: str) -> str:
        """What identifies the content of a local image; empty when there is no such image, or none is told."""
        done = self.run("image", "inspect", image, timeout=_LOOK_SECONDS, check=False)
        try:
            return _digest(json.loads(done.stdout)) if done.returncode == 0 else ""
        except ValueError:
            return ""

    @property
    def name(self) -> str:
        """``container``."""
        return self.program.name

    def pull(self, image: str, *, plain: bool) -> None:
        """Fetch an image; see :class:`~pytest_kina.providers.containers.local_images.ImageStore`."""
        scheme = ("--scheme", "http") if plain else ()
        self.run("image", "pull", "--platform", PLATFORM, *scheme, image, timeout=PULL_SECONDS)

    def tag(self, image: str, name: str) -> None:
        """Give a local image another name. Raises :class:`CommandError`."""
        self.run("image", "tag", image, name, timeout=_LOOK_SECONDS)

    def load(self, archive: Path) -> None:
        """Add the images of an archive. Raises :class:`CommandError`."""
        self.run("image", "load", "-i", archive, timeout=PULL_SECONDS)

    def save(self, image: str, path: Path) -> None:
        """Write an archive of a local image. Raises :class:`CommandError`.

        Of one platform: an archive of several is an index, under whose name a kubelet finds nothing.
        """
        self.run("image", "save", "--platform", PLATFORM, "-o", path, image, timeout=PULL_SECONDS)

    def load_image(self, place: Place, archive: Path, machines: Sequence[str], timeout: float) -> None:
        """Import an archive into the kubelet's namespace of each machine, once. Raises :class:`ProvisionError`."""

        def imported(machine: str) -> None:
            said = self.inside(machine, *_CTR, "import", "-", timeout=timeout, stdin=archive)
            _log.debug("%s: %s", machine, said)

        def load() -> None:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(imported, machines))

        def images(machine: str) -> str:
            return self.inside(machine, "crictl", "images", "-o", "json", timeout=timeout)

        load_once(place, archive, machines, load, images, timeout)

    def remove(self, names: Sequence[str]) -> None:
        """Delete machines by force, one by one: an absent one must not keep the others. Judge by :meth:`machines`."""
        for name in names:
            self.run("delete", "--force", name, timeout=_FORCE_SECONDS, check=False)


def _digest(document: Any) -> str:
    """The first digest of an image's index or descriptor: where it is has moved between releases."""
    if isinstance(document, list):
        return next((found for entry in document if (found := _digest(entry))), "")
    if not isinstance(document, dict):
        return ""
    for key in ("index", "descriptor"):
        if isinstance(part := document.get(key), dict) and isinstance(part.get("digest"), str):
            return str(part["digest"])
    return next((found for part in document.values() if (found := _digest(part))), "")


def _machine(element: Mapping[str, Any]) -> Machine:
    status = element["status"]
    networks = status.get("networks") or [{}]
    return Machine(
        name=element["id"],
        labels=dict(element["configuration"].get("labels") or {}),
        state=status["state"],
        address=str(networks[0].get("ipv4Address", "")).partition("/")[0],
        started=str(status.get("startedDate", "")),
    )
