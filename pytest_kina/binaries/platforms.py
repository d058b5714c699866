"""Which machine this is, and which machine an executable was made for."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import BinaryError

_SYSTEMS = {"linux": "linux", "darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

# e_machine of the ELF header (System V ABI); cputype of the Mach-O header (<mach/machine.h>).
_ELF_MACHINES = {62: "amd64", 183: "arm64"}
_MACH_MACHINES = {0x01000007: "amd64", 0x0100000C: "arm64"}
_MACH_MAGIC = b"\xcf\xfa\xed\xfe"
_MACH_UNIVERSAL = b"\xca\xfe\xba\xbe"


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor, in Go's words (``linux``, ``amd64``)."""

    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}/{self.arch}"

    @property
    def suffix(self) -> str:
        """The platform as a part of file names, ``linux-amd64``."""
        return f"{self.os}-{self.arch}"


def current() -> Platform:
    """The platform of this process. Raises :class:`BinaryError` where no control plane exists."""
    system, machine = sys.platform, platform.machine().lower()
    if system == "win32":
        raise BinaryError("the Kubernetes control plane does not run on Windows", next_step="run the tests in WSL 2")
    if system not in _SYSTEMS or machine not in _MACHINES:
        raise BinaryError(
            f"no control plane is known for {system} on {machine}; expected Linux or macOS on amd64 or arm64",
            next_step="choose a provider that runs elsewhere, for example an existing cluster",
        )
    return Platform(_SYSTEMS[system], _MACHINES[machine])


def made_for(path: Path) -> str | None:
    """What the header of ``path`` says it runs on: ``linux/amd64``, ``script``, or None when it is no executable.

    Raises :class:`OSError` when it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(b"#!"):
        return "script"
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
        return f"linux/{_ELF_MACHINES.get(number, f'ELF machine {number}')}"
    if head.startswith(_MACH_MAGIC) and len(head) >= 8:
        number = int.from_bytes(head[4:8], "little")
        return f"darwin/{_MACH_MACHINES.get(number, f'Mach-O CPU {number:#x}')}"
    if head.startswith(_MACH_UNIVERSAL):
        return "darwin/universal"
    return None


def refusal(path: Path, wanted: Platform, *, scripts: bool = True) -> str | None:
    """One sentence that says why ``path`` cannot run on ``wanted``, or None.

    ``scripts`` tells whether a ``#!`` wrapper is fine: in a user's directory it is, in a download it is not.
    """
    found = made_for(path)
    if found is None:
        return f"{path} is not an executable (neither ELF nor Mach-O)"
    if found == "script":
        return None if scripts else f"{path} is a script, not an executable for {wanted}"
    runs = found == str(wanted) or (found == "darwin/universal" and wanted.os == "darwin")
    return None if runs else f"{path} is made for {found}, this machine is {wanted}"
