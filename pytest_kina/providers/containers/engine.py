"""docker, podman or nerdctl, whichever kind and k3d work with: what all three understand in the same way."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import CommandError, ProviderUnavailableError
from pytest_kina.process import CommandResult, plain, run_command
from pytest_kina.providers.containers.archives import PULL_SECONDS
from pytest_kina.providers.containers.programs import dotted, plain_environment, version_in

ENGINES = ("docker", "podman", "nerdctl")

_LOOK_SECONDS = 20.0
_FORCE_SECONDS = 60.0

_PLAIN = {"podman": ("pull", "--tls-verify=false"), "nerdctl": ("--insecure-registry", "pull")}
"""How they are told that a registry has no TLS; docker takes that from its daemon's configuration alone."""

# Which daemon is meant; everything else of the user's environment stays outside.
_DAEMON = (
    "CONTAINERD_ADDRESS",
    "CONTAINER_HOST",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "XDG_RUNTIME_DIR",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that is a node: its name, and whether it runs."""

    name: str
    running: bool


@dataclass(frozen=True, slots=True)
class Engine:
    """An installed container engine."""

    program: Path

    @classmethod
    def find(cls, names: Sequence[str] = ENGINES) -> Engine:
        """The first of ``names`` that is installed and whose daemon answers.

        Raises :class:`ProviderUnavailableError` that says what is wrong with each.
        """
        refused = []
        for name in names:
            if path := shutil.which(name):
                engine = cls(Path(path))
                if not (why := engine._silence()):
                    return engine
                refused.append(f"`{name}` is installed, but its service does not answer: {why}")
        raise ProviderUnavailableError(
            "; ".join(refused) or f"none of {', '.join(names)} is on PATH",
            next_step=f"start it, or install one of {', '.join(names)}",
        )

    @property
    def name(self) -> str:
        """``docker``, ``podman`` or ``nerdctl``."""
        return self.program.name

    def version(self) -> str:
        """Its version, as ``29.1.0``; ``?`` where it tells none."""
        said = self.run("--version", timeout=_LOOK_SECONDS, check=False).stdout
        version = version_in(said.replace(",", " "), "version")
        return dotted(version) if version else "?"

    def environment(self, **extra: str) -> dict[str, str]:
        """What a tool needs to reach the same daemon."""
        return plain_environment(extra, also=_DAEMON)

    def run(self, *arguments: str | Path, timeout: float, check: bool = True) -> CommandResult:
        """Run it; ``timeout`` in seconds. Raises :class:`CommandError`."""
        return run_command([self.program, *arguments], timeout=timeout, env=self.environment(), check=check)

    def digest(self, image: str) -> str:
        """What identifies the content of a local image; empty when there is no such image."""
        line = ("image", "inspect", "--format", "{{.Id}}", image)
        done = self.run(*line, timeout=_LOOK_SECONDS, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def pull(self, image: str, *, plain: bool) -> None:
        """Fetch an image; see :class:`~pytest_kina.providers.containers.local_images.ImageStore`."""
        command = _PLAIN.get(self.name, ("pull",)) if plain else ("pull",)
        self.run(*command, image, timeout=PULL_SECONDS)

    def tag(self, image: str, name: str) -> None:
        """Give a local image another name. Raises :class:`CommandError`."""
        self.run("tag", image, name, timeout=_LOOK_SECONDS)

    def load(self, archive: Path) -> None:
        """Add the images of an archive. Raises :class:`CommandError`."""
        self.run("load", "--input", archive, timeout=PULL_SECONDS)

    def save(self, image: str, path: Path) -> None:
        """Write an archive of a local image. Raises :class:`CommandError`."""
        self.run("save", "--output", path, image, timeout=PULL_SECONDS)

    def nodes(self, label: str) -> list[Container]:
        """All containers with a ``label`` (``key`` or ``key=value``), running or not. Raises :class:`CommandError`."""
        line = ("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}\t{{.Status}}")
        rows = [row.partition("\t") for row in self.run(*line, timeout=_LOOK_SECONDS).stdout.splitlines() if row]
        return [Container(name=name, running=status.startswith("Up")) for name, _, status in rows]

    def remove(self, names: Sequence[str]) -> None:
        """Delete containers and their volumes by force; judge by :meth:`nodes`."""
        if names:
            self.run("rm", "--force", "--volumes", *names, timeout=_FORCE_SECONDS, check=False)

    def _silence(self) -> str:
        try:
            self.run("info", "--format", "{{.ID}}", timeout=_LOOK_SECONDS)
        except CommandError as error:
            return plain(error.details["stderr"].strip() or error.message).splitlines()[-1]
        return ""
