"""``pytest-kina binaries``: look at, fetch, carry around and tidy the control-plane binaries.

Exit codes: 0 done, 1 failed (the reason is on standard error, or in ``error`` with ``--json``), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_kina.binaries import archives, platforms
from pytest_kina.binaries.obtaining import Assets, obtain
from pytest_kina.binaries.releases import DEFAULT_COMPONENTS, FAMILY_OF, Version, current_targets, known, want
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.errors import BinaryError, KinaError
from pytest_kina.settings import DEFAULT_VERSION, Settings

_SAY_AGAIN = 10.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``binaries`` and its actions to the command line."""
    parser = subparsers.add_parser("binaries", help="look at, fetch, bundle, import and prune control-plane binaries")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument("--version", type=_version, default=DEFAULT_VERSION, help="Kubernetes minor or patch")
    chosen.add_argument(
        "--assets", type=Path, action="append", default=[], metavar="DIR", help="a directory to look in first"
    )
    actions.add_parser("list", parents=[shared], help="what the store holds")
    get = actions.add_parser("get", parents=[shared, chosen], help="obtain components and print their paths")
    get.add_argument("components", nargs="*", metavar="COMPONENT", help=f"default: {' '.join(DEFAULT_COMPONENTS)}")
    get.add_argument("--offline", action="store_true", help="never touch the network")
    get.add_argument("--mirror", metavar="URL", help="base address that replaces those of official downloads")
    path = actions.add_parser("path", parents=[shared, chosen], help="print the path of one component; never fetches")
    path.add_argument("component", choices=sorted(FAMILY_OF), metavar="COMPONENT")
    bundle = actions.add_parser("bundle", parents=[shared], help="write the binaries of some versions into one tar")
    bundle.add_argument("output", type=Path, metavar="FILE", help="compressed when it ends in .gz or .tgz")
    bundle.add_argument("--version", type=_version, action="append", dest="versions", help="may be repeated")
    imported = actions.add_parser("import", parents=[shared], help="add the binaries of a bundle to the store")
    imported.add_argument("file", type=Path, metavar="FILE")
    prune = actions.add_parser("prune", parents=[shared], help="remove superseded, damaged and unfinished binaries")
    prune.add_argument("--all", action="store_true", help="remove everything, Go toolchains too")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry out a parsed ``binaries`` command; returns the exit code.

    What the command line does not say (directories, mirror, offline) is as in ``settings``, whose root has the store.
    """
    try:
        document, text = _ACTIONS[arguments.action](arguments, settings)
    except (KinaError, OSError) as error:
        if arguments.json:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        else:
            sys.stderr.write(f"pytest-kina binaries {arguments.action}: {error}\n")
        return 1
    sys.stdout.write((json.dumps(document, indent=2) if arguments.json else text) + "\n")
    return 0


class _Told:
    """A progress for people: standard error, a line when something new begins and every ten seconds."""

    def __init__(self) -> None:
        self._last = ("", 0.0)

    def __call__(self, what: str, step: int = 0, steps: int = 0) -> None:
        """See :class:`~pytest_kina.progress.Progress`."""
        now = time.monotonic()
        if what != self._last[0] or now - self._last[1] >= _SAY_AGAIN:
            self._last = (what, now)
            sys.stderr.write(f"{what}{f' ({step} of {steps})' if steps else ''}\n")
            sys.stderr.flush()


def _list(_arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    store = Store(settings.root, platforms.current())
    rows = [_described(store, directory) for directory in store.directories()]
    document = {"directory": str(store.directory), "entries": rows, "known": {k: str(v) for k, v in known().items()}}
    lines = [f"{row['name']:44} {row['size'] / 2**20:7.1f} MiB  {row['state']}  {row['source']}" for row in rows]
    return document, "\n".join(lines) or f"{store.directory} is empty; `pytest-kina binaries get` fills it"


def _get(arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    components = arguments.components or DEFAULT_COMPONENTS
    assets = obtain(
        arguments.version,
        components,
        root=settings.root,
        offline=arguments.offline or settings.offline,
        explicit=arguments.assets or settings.assets,
        mirror=arguments.mirror or settings.mirror,
        progress=_Told(),
    )
    return _assets(assets)


def _path(arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    assets = obtain(
        arguments.version,
        [arguments.component],
        root=settings.root,
        offline=True,
        explicit=arguments.assets or settings.assets,
        progress=_Told(),
    )
    return _assets(assets)[0], str(assets.paths[arguments.component])


def _bundle(arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    store = Store(settings.root, platforms.current())
    entries = [entry for version in arguments.versions or [DEFAULT_VERSION] for entry in _entries(store, version)]
    unique = list({entry.name: entry for entry in entries}.values())
    archives.bundle(unique, arguments.output)
    names = [entry.name for entry in unique]
    return {"file": str(arguments.output), "entries": names}, f"{arguments.output}: {', '.join(names)}"


def _import(arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    entries = archives.import_bundle(arguments.file, Store(settings.root, platforms.current()), _Told())
    names = [entry.name for entry in entries]
    return {"entries": names}, "\n".join(names)


def _prune(arguments: argparse.Namespace, settings: Settings) -> tuple[Any, str]:
    store = Store(settings.root, platforms.current())
    ours = [path for path in store.directories() if not store.is_newer(path)]
    doomed = [path for path in ours if arguments.all or not _keep(store, path)]
    doomed += store.toolchains() if arguments.all else []
    if not arguments.dry_run:
        for path in doomed:
            with store.lock(path.name, f"removing {path.name}", _Told()):
                store.remove(path)
        store.sweep()
    names = [path.name for path in doomed]
    return {"removed": names, "dry_run": arguments.dry_run}, "\n".join(names) or "nothing to remove"


_ACTIONS: dict[str, Callable[[argparse.Namespace, Settings], tuple[Any, str]]] = {
    "list": _list,
    "get": _get,
    "path": _path,
    "bundle": _bundle,
    "import": _import,
    "prune": _prune,
}


def _version(text: str) -> str:
    try:
        want(text, ())
    except BinaryError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def _assets(assets: Assets) -> tuple[Any, str]:
    document = {
        "paths": {name: str(path) for name, path in assets.paths.items()},
        "versions": dict(assets.versions),
        "digests": dict(assets.digests),
        "sources": dict(assets.sources),
    }
    return document, "\n".join(f"{name:24} {path}" for name, path in assets.paths.items())


def _described(store: Store, directory: Path) -> dict[str, Any]:
    try:
        entry = _read(store, directory)
    except BinaryError as error:
        return {"name": directory.name, "size": 0, "state": "damaged", "source": error.message}
    return {
        "name": entry.name,
        "family": entry.family,
        "version": str(entry.version),
        "size": entry.size,
        "state": "complete",
        "source": entry.source,
        "created": entry.created,
        "files": {name: file.sha256 for name, file in entry.files.items()},
    }


def _read(store: Store, directory: Path) -> Entry:
    """The entry in a directory, whose name says family and version. Raises :class:`BinaryError`."""
    family, _, rest = directory.name.partition("-")
    try:
        return store.find(family, Version.parse(rest.removesuffix(f"-{store.platform.suffix}")))
    except ValueError:
        raise BinaryError(f"not an entry for {store.platform}") from None


def _entries(store: Store, version: str) -> list[Entry]:
    """The stored entries that a cluster of ``version`` needs, and ``kubectl`` when it is there."""
    found = []
    for wanted in want(version, DEFAULT_COMPONENTS):
        there = store.versions(wanted.family)
        fitting = [stored for stored in there if stored == (wanted.target or stored) and not wanted.refusal(stored)]
        if not fitting:
            raise BinaryError(
                f"the store has no {wanted.label}", next_step=f"run `pytest-kina binaries get --version {version}`"
            )
        found.append(store.find(wanted.family, fitting[0]))
    kubectl = want(version, ["kubectl"])[0].target
    return found + ([store.find("kubectl", kubectl)] if kubectl in store.versions("kubectl") else [])


def _keep(store: Store, directory: Path) -> bool:
    """Whether a request for a known minor still leads to this entry."""
    try:
        entry = _read(store, directory)
    except BinaryError:
        return False
    return entry.version in current_targets()[entry.family]
