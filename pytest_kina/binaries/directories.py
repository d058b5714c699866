"""Binaries that the user has already: named directories, those of envtest, and the search path. Never written to."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.binaries.inspection import Inspector
from pytest_kina.binaries.platforms import Platform, refusal
from pytest_kina.binaries.releases import Version, Wanted
from pytest_kina.errors import BinaryError


@dataclass(frozen=True, slots=True)
class Found:
    """The components of one family, all of one version, and where they come from."""

    family: str
    version: Version
    source: str
    paths: Mapping[str, Path]
    digests: Mapping[str, str]


Look = Callable[[Wanted], Found]


@dataclass(frozen=True, slots=True)
class Directories:
    """Looks at executables that others put there."""

    inspector: Inspector
    platform: Platform

    def before_store(self, explicit: Sequence[Path]) -> Iterator[tuple[str, Look]]:
        """What the user pointed at, in the order in which it counts; a name for each place, and how to look there.

        ``explicit`` may come from ``KINA_ASSETS``, as the settings read it: it has that name then, and is not repeated.
        """
        ours = _directories("KINA_ASSETS")
        for directory in dict.fromkeys([*map(Path.absolute, explicit), *ours]):
            if directory in ours:
                yield f"KINA_ASSETS={directory}", self._in(directory, "KINA_ASSETS")
            else:
                yield f"explicit directory {directory}", self._in(directory, "explicit option")
        for directory in _directories("KUBEBUILDER_ASSETS"):
            yield f"KUBEBUILDER_ASSETS={directory}", self._in(directory, "KUBEBUILDER_ASSETS")
        yield "TEST_ASSET_*", self._test_assets

    def after_store(self) -> Iterator[tuple[str, Look]]:
        """What other tools left on this machine."""
        yield "setup-envtest's store", self._envtest
        yield "PATH", self._search_path

    def _in(self, directory: Path, source: str) -> Look:
        def look(wanted: Wanted) -> Found:
            if not directory.is_dir():
                raise BinaryError("there is no such directory")
            return self._check(wanted, {name: directory / name for name in wanted.components}, source)

        return look

    def _test_assets(self, wanted: Wanted) -> Found:
        variables = {name: f"TEST_ASSET_{name.upper().replace('-', '_')}" for name in wanted.components}
        if missing := [variable for variable in variables.values() if not os.environ.get(variable)]:
            raise BinaryError(f"{missing[0]} is not set")
        return self._check(
            wanted, {name: Path(os.environ[variable]) for name, variable in variables.items()}, "TEST_ASSET"
        )

    def _envtest(self, wanted: Wanted) -> Found:
        base = _envtest_base() / "k8s"
        problem = f"{base} has nothing for {wanted.series} on {self.platform}"
        for directory in _newest_first(base, wanted.series, self.platform):
            try:
                return self._in(directory, "setup-envtest")(wanted)
            except BinaryError as error:
                problem = error.message
        raise BinaryError(problem)

    def _search_path(self, wanted: Wanted) -> Found:
        places = {name: shutil.which(name) for name in wanted.components}
        if missing := [name for name, place in places.items() if place is None]:
            raise BinaryError(f"has no {missing[0]}")
        return self._check(wanted, {name: Path(place) for name, place in places.items() if place}, "PATH")

    def _check(self, wanted: Wanted, paths: Mapping[str, Path], source: str) -> Found:
        seen = {}
        for name, path in paths.items():
            if not path.is_file():
                raise BinaryError(f"has no {name}" if path.name == name else f"{path} does not exist")
            if problem := refusal(path, self.platform):
                raise BinaryError(problem)
            seen[name] = self.inspector.inspect(name, path)
            if problem := wanted.refusal(seen[name].version):
                raise BinaryError(f"{name} {problem}")
        versions = {inspection.version for inspection in seen.values()}
        if len(versions) > 1:
            mixed = ", ".join(f"{name} {inspection.version}" for name, inspection in seen.items())
            raise BinaryError(f"versions are mixed: {mixed}")
        digests = {name: inspection.digest for name, inspection in seen.items()}
        absolute = {name: path.absolute() for name, path in paths.items()}
        return Found(wanted.family, versions.pop(), source, absolute, digests)


def _directories(variable: str) -> list[Path]:
    """The directories that an environment variable names, separated like those of ``PATH``."""
    parts = filter(None, os.environ.get(variable, "").split(os.pathsep))
    return [Path(os.path.expanduser(part)).absolute() for part in parts]  # noqa: PTH111  Path's may raise


def _envtest_base() -> Path:
    """Where ``setup-envtest`` keeps its store (its own documentation, ``--bin-dir``)."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "io.kubebuilder.envtest"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kubebuilder-envtest"


def _newest_first(base: Path, series: str, platform: Platform) -> list[Path]:
    found = []
    for directory in base.glob(f"{series}.*-{platform.suffix}"):
        with suppress(ValueError):
            found.append((Version.parse(directory.name.removesuffix(f"-{platform.suffix}")), directory))
    return [directory for _, directory in sorted(found, reverse=True)]
