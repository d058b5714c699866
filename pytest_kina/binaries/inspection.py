"""Asking an executable for its version, and hashing it: once, and then remembered while the file stays the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kina.binaries.platforms import Platform, refusal
from pytest_kina.binaries.releases import FAMILIES, Version
from pytest_kina.errors import BinaryError, CommandError
from pytest_kina.files import peek_json, private_directory, write_json
from pytest_kina.process import run_command

_SCHEMA = 1
_TIMEOUT = 30.0
_PRE_RELEASE = re.compile(r"-(alpha|beta|rc|dev)\b|-0\.")  # vendors' suffixes (-eks-…, +k3s1) are releases
_ARGUMENTS = {"kubectl": ("version", "--client"), "etcdutl": ("version",)}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an executable is: the version that it prints, and its SHA-256 in hexadecimal."""

    version: Version
    digest: str


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal. Raises :class:`OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def printed_version(component: str, path: Path) -> Version:
    """Run ``path`` and read the version that it prints.

    Raises :class:`BinaryError` when it cannot be run, or prints no released version.
    """
    arguments = _ARGUMENTS.get(component, ("--version",))
    try:
        output = run_command([path, *arguments], timeout=_TIMEOUT).stdout
    except CommandError as error:
        raise BinaryError(f"{path} does not tell its version: {error.message}") from error
    match = re.search(r"\bv?(\d+\.\d+\.\d+)(\S*)", output)
    if not match or _PRE_RELEASE.match(match[2]):
        shown = output.strip().splitlines()[:1]
        raise BinaryError(f"{path} prints no released version: {shown[0] if shown else 'nothing'}")
    return Version.parse(match[1])


def verify(directory: Path, family: str, version: Version, platform: Platform) -> None:
    """Prove that a directory holds the executables of a family, for this machine, in this version, by running them.

    Raises :class:`BinaryError` that says which one is not.
    """
    for component in FAMILIES[family]:
        path = directory / component
        if problem := refusal(path, platform, scripts=False):
            raise BinaryError(problem)
        path.chmod(0o755)
        if (printed := printed_version(component, path)) != version:
            raise BinaryError(f"{component} says that it is {printed}, expected {version}")


class Inspector:
    """Inspects executables, and keeps the answers in ``directory`` by path, size, inode and modification time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def inspect(self, component: str, path: Path) -> Inspection:
        """Version and digest of an executable. Raises :class:`BinaryError` and :class:`OSError`."""
        real = path.resolve(strict=True)
        status = real.stat()
        identity = [component, str(real), status.st_size, status.st_ino, status.st_mtime_ns]
        memory = self._directory / f"{hashlib.sha256(f'{component}:{real}'.encode()).hexdigest()[:32]}.json"
        if (known := peek_json(memory, _SCHEMA)) and known.get("identity") == identity:
            return Inspection(Version.parse(known["version"]), known["sha256"])
        seen = Inspection(printed_version(component, path), sha256(real))
        self._remember(memory, {"identity": identity, "version": str(seen.version), "sha256": seen.digest})
        return seen

    def _remember(self, memory: Path, answer: Mapping[str, Any]) -> None:
        # It only saves time: a full disk, or another process that tidies up after us, costs the next one a question.
        with suppress(OSError):
            private_directory(self._directory)
            for left in self._directory.glob(f".{memory.name}.*.tmp"):
                left.unlink(missing_ok=True)
            write_json(memory, _SCHEMA, answer)
