"""Which ``kina`` is installed: another program has the same name, and several versions may be on PATH."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pytest_kina.errors import CommandError, ProviderUnavailableError
from pytest_kina.process import run_command
from pytest_kina.providers.containers.apple import Apple
from pytest_kina.providers.containers.programs import (
    Version,
    complaint,
    dotted,
    installed,
    plain_environment,
    version_in,
)

_OLDEST: Version = (0, 2, 0)
_LOOK_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The programs that the provider drives."""

    kina: Path
    kina_version: Version
    apple: Apple

    @classmethod
    def find(cls) -> Tools:
        """Those on PATH, checked. Raises :class:`ProviderUnavailableError` with the reason and the next step."""
        apple = Apple.find()
        program, version = _kina()
        # kina itself calls it, and fails half-way without it.
        if shutil.which("kubectl") is None:
            raise ProviderUnavailableError(
                "`kubectl` is not on PATH, and `kina create` fails half-way without it", next_step="install kubectl"
            )
        _ = apple.version
        apple.refuse_stopped_service()
        return cls(kina=program, kina_version=version, apple=apple)


def _kina() -> tuple[Path, Version]:
    """The first on PATH that can serve. Raises :class:`ProviderUnavailableError` that says what is wrong with each."""
    refused = []
    for program in installed("kina"):
        version, why = _examined(program)
        if version is not None:
            return program, version
        refused.append(f"{program} {why}")
    raise ProviderUnavailableError(
        "; ".join(refused) or "`kina` is not on PATH",
        next_step=f"install kina {dotted(_OLDEST)} or later from https://github.com/vinnie357/kina",
    )


def _examined(program: Path) -> tuple[Version | None, str]:
    """The version, or what is wrong; run with a home of its own, since kina makes directories there."""
    with TemporaryDirectory(prefix="kina-") as home:
        try:
            done = run_command(
                [program, "version", "--json"],
                timeout=_LOOK_SECONDS,
                env=plain_environment({"HOME": home}),
                check=False,
            )
        except CommandError as error:
            return None, f"does not run: {complaint(error)}"
    try:
        said = str(json.loads(done.stdout)["version"])
    except (ValueError, LookupError, TypeError):
        return None, "is another program of that name (it knows no `version --json`)"
    version = version_in(said)
    if version is None:
        return None, f"has a version that is not understood: {said[:80]!r}"
    if version < _OLDEST:
        return None, f"is {dotted(version)}; {dotted(_OLDEST)} is the oldest that can be driven"
    return version, ""
