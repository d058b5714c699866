"""Finding the binaries of a cluster: one source after the other, each with the reason why it was not used.

The user's own come first (explicit directories, ``KINA_ASSETS``, ``KUBEBUILDER_ASSETS``, ``TEST_ASSET_*``), then our
store, what other tools left (setup-envtest, ``PATH``), an official download, and a build from the Go modules. A
directory with a wrong version is passed over, not used and not fatal; if nothing else helps, the error says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_kina.binaries import platforms
from pytest_kina.binaries.directories import Directories, Found, Look
from pytest_kina.binaries.downloads import Downloader, Origins, Patience
from pytest_kina.binaries.inspection import Inspector, verify
from pytest_kina.binaries.releases import FAMILIES, Version, Wanted, want
from pytest_kina.binaries.store import Entry, Store, entry_name
from pytest_kina.errors import BinaryError, KinaError
from pytest_kina.progress import Progress


@dataclass(frozen=True, slots=True)
class Assets:
    """Executables to run a cluster with.

    ``paths`` and ``digests`` (SHA-256, hexadecimal) by component, ``versions`` (``v1.36.3``) and ``sources`` by family.
    """

    paths: Mapping[str, Path]
    versions: Mapping[str, str]
    digests: Mapping[str, str]
    sources: Mapping[str, str]


def obtain(
    version: str,
    components: Sequence[str],
    *,
    root: Path,
    offline: bool,
    explicit: Sequence[Path] = (),
    mirror: str | None = None,
    progress: Progress,
) -> Assets:
    """The executables of ``components`` for Kubernetes ``version`` (a minor or a patch).

    With a complete store this takes milliseconds; a build takes minutes. ``offline`` never touches the network.
    ``mirror`` replaces the addresses of official downloads. Raises :class:`BinaryError` that lists every source with
    the reason why it did not help.
    """
    platform = platforms.current()
    store = Store(root, platform)
    downloader = Downloader(Origins.of(mirror), platform, progress, Patience())
    search = _Search(store, explicit, None if offline else downloader, progress)
    found = [search.family(wanted) for wanted in want(version, components)]
    return Assets(
        paths={name: path for one in found for name, path in one.paths.items()},
        versions={one.family: str(one.version) for one in found},
        digests={name: digest for one in found for name, digest in one.digests.items()},
        sources={one.family: one.source for one in found},
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """One search over all sources. ``downloader`` is None when the network must not be touched."""

    store: Store
    explicit: Sequence[Path]
    downloader: Downloader | None
    progress: Progress

    def family(self, wanted: Wanted) -> Found:
        """The first source that has a family."""
        reasons: list[tuple[str, str]] = []
        if found := _first(self._local(), wanted, reasons):
            return found
        if self.downloader is None:
            raise self._offline_failure(wanted, reasons)
        try:
            if found := self._online(wanted, self.downloader, reasons):
                return found
        except OSError as error:  # the store's own directories: full, read-only, in the way
            reasons.append((f"store {self.store.directory}", str(error)))
        raise BinaryError(
            f"{wanted.headline}{wanted.label} for {self.store.platform} could not be obtained:\n{_listed(reasons)}",
            next_step="name a directory that has these binaries in KINA_ASSETS, or make one of the sources work",
            reasons=tuple(reasons),
        )

    def _local(self) -> Iterator[tuple[str, Look]]:
        directories = Directories(Inspector(self.store.directory / ".inspected"), self.store.platform)
        yield from directories.before_store(self.explicit)
        yield f"store {self.store.directory}", self._stored
        yield from directories.after_store()

    def _stored(self, wanted: Wanted) -> Found:
        """The target; a neighbouring patch only when the target is unknown or cannot be fetched."""
        if wanted.target and (self.downloader or wanted.exact):
            return _found(self.store.find(wanted.family, wanted.target), wanted, "store")
        fitting = [version for version in self.store.versions(wanted.family) if not wanted.refusal(version)]
        if not fitting:
            raise BinaryError(f"has no {wanted.label} (it has {_joined(self.store.versions(wanted.family))})")
        return _found(self.store.find(wanted.family, fitting[0]), wanted, "store")

    def _online(self, wanted: Wanted, downloader: Downloader, reasons: list[tuple[str, str]]) -> Found | None:
        wanted = self._with_target(wanted, downloader, reasons)
        family, version = wanted.family, wanted.target
        if version is None:
            return None

        def made(make: Callable[[Path], str]) -> Look:
            return lambda wanted: _found(self._make(family, version, make), wanted, "store")

        def build(target: Path) -> str:
            from pytest_kina.binaries import building  # only few runs build

            return building.build(family, version, target=target, store=self.store, progress=self.progress)

        with self.store.lock(entry_name(family, version, self.store.platform), f"making {wanted.label}", self.progress):
            self.progress(f"preparing {wanted.label}")  # it may have waited, and be silent until a server answers
            sources: list[tuple[str, Look]] = [
                ("store, after waiting", lambda wanted: _found(self.store.find(family, version), wanted, "store")),
                ("download", made(lambda target: downloader.fetch(family, version, target))),
                ("build", made(build)),
            ]
            return _first(sources, wanted, reasons)

    def _with_target(self, wanted: Wanted, downloader: Downloader, reasons: list[tuple[str, str]]) -> Wanted:
        """For a minor that the table does not have: its newest patch, from the first source that answers."""
        if wanted.target:
            return wanted
        from pytest_kina.binaries import building

        asked: list[tuple[str, Callable[[], Version]]] = [
            ("newest patch, by download", lambda: downloader.newest_patch(wanted.series)),
            (
                "newest patch, by module proxy",
                lambda: building.newest_patch(wanted.series, store=self.store, progress=self.progress),
            ),
        ]
        for source, ask in asked:
            try:
                return replace(wanted, target=ask())
            except (KinaError, OSError) as error:
                reasons.append((source, _sentence(error)))
        return wanted

    def _make(self, family: str, version: Version, make: Callable[[Path], str]) -> Entry:
        with self.store.staging(family, version) as staging:
            source = make(staging)
            verify(staging, family, version, self.store.platform)
            return self.store.publish(staging, family, version, source)

    def _offline_failure(self, wanted: Wanted, reasons: list[tuple[str, str]]) -> BinaryError:
        there = {family: _joined(self.store.versions(family)) for family in FAMILIES}
        listed = "; ".join(f"{family}: {versions}" for family, versions in there.items())
        return BinaryError(
            f"{wanted.headline}{wanted.label} for {self.store.platform} is not on this machine, "
            f"and offline mode is on:\n{_listed(reasons)}\nThe store has {listed}.",
            next_step="choose a version that is there, or run `pytest-kina binaries get` (or `import`) once",
            reasons=tuple(reasons),
        )


def _first(
    sources: Iterator[tuple[str, Look]] | Sequence[tuple[str, Look]],
    wanted: Wanted,
    reasons: list[tuple[str, str]],
) -> Found | None:
    """The answer of the first source that has one; the reasons of those before it are added to ``reasons``."""
    for source, look in sources:
        try:
            return look(wanted)
        except (KinaError, OSError) as error:
            reasons.append((source, _sentence(error)))
    return None


def _found(entry: Entry, wanted: Wanted, source: str) -> Found:
    paths = {name: entry.path(name) for name in wanted.components}
    digests = {name: entry.digest(name) for name in wanted.components}
    return Found(wanted.family, entry.version, source, paths, digests)


def _sentence(error: Exception) -> str:
    return error.message if isinstance(error, KinaError) else str(error)


def _listed(reasons: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"  {source}: {reason}" for source, reason in reasons)


def _joined(versions: Sequence[Version]) -> str:
    return ", ".join(map(str, versions)) or "none"
