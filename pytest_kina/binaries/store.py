"""Our own binaries on disk: one directory per family, version and platform, whole or not there.

An entry is filled in a temporary directory of the same file system, forced to the disk, and moved into place; its
``COMPLETE`` file is written last and is the only thing that a reader believes. One lock per entry elects the process
that fills it; the kernel drops the lock when that process dies, and the next holder removes what it left.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from pytest_kina import crashpoints
from pytest_kina.binaries.inspection import sha256
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.errors import BinaryError
from pytest_kina.files import peek_json, private_directory, sync_directory, write_json
from pytest_kina.progress import Progress

_POLL = 0.05
_REPORT_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a file was when the entry was completed; ``mtime_ns`` is its modification time in nanoseconds."""

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Hash and measure a file. Raises :class:`OSError`."""
        status = path.stat()
        return cls(sha256(path), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Entry:
    """One complete entry. ``aliases`` are further names of a file; ``created`` is an ISO 8601 time in UTC."""

    FILE: ClassVar[str] = "COMPLETE"
    SCHEMA: ClassVar[int] = 1

    directory: Path
    family: str
    version: Version
    platform: Platform
    files: Mapping[str, StoredFile]
    aliases: Mapping[str, str]
    source: str
    created: str

    @property
    def name(self) -> str:
        """The directory's name: ``etcd-v3.6.16-linux-amd64``."""
        return entry_name(self.family, self.version, self.platform)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def path(self, component: str) -> Path:
        """The executable of a component."""
        return self.directory / component

    def digest(self, component: str) -> str:
        """The SHA-256 of a component's executable. Raises :class:`KeyError` when the entry does not have it."""
        return self.files[self.aliases.get(component, component)].sha256

    def to_json(self) -> dict[str, Any]:
        """What ``COMPLETE`` holds besides its schema."""
        return {
            "family": self.family,
            "version": str(self.version),
            "os": self.platform.os,
            "arch": self.platform.arch,
            "files": {name: asdict(file) for name, file in self.files.items()},
            "aliases": dict(self.aliases),
            "source": self.source,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, directory: Path, document: Mapping[str, Any]) -> Self:
        """The entry that :meth:`to_json` described. Raises :class:`BinaryError` when it is not one."""
        try:
            entry = cls(
                directory=directory,
                family=str(document["family"]),
                version=Version.parse(document["version"]),
                platform=Platform(str(document["os"]), str(document["arch"])),
                files={
                    name: StoredFile(str(file["sha256"]), int(file["size"]), int(file["mtime_ns"]))
                    for name, file in document["files"].items()
                },
                aliases=dict(document["aliases"]),
                source=str(document["source"]),
                created=str(document["created"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BinaryError(f"{directory / cls.FILE} does not describe an entry: {error!r}") from error
        for name in (*entry.files, *entry.aliases, *entry.aliases.values()):
            if not name or name.startswith(".") or "/" in name or os.sep in name:
                raise BinaryError(f"{directory / cls.FILE} names {name!r}, which is not a plain file name")
        return entry


def entry_name(family: str, version: Version, platform: Platform) -> str:
    """The name of an entry's directory."""
    return f"{family}-{version}-{platform.suffix}"


class Store:
    """The entries below ``<root>/binaries``."""

    def __init__(self, root: Path, platform: Platform) -> None:
        self.directory = root / "binaries"
        self.platform = platform

    def hidden(self, name: str) -> Path:
        """A directory for our own use beside the entries; made when missing."""
        return private_directory(self.directory / f".{name}")

    def find(self, family: str, version: Version) -> Entry:
        """A complete and unchanged entry.

        Costs a few ``stat`` calls; a file whose size or time differs from ``COMPLETE`` is hashed. Raises
        :class:`BinaryError` when there is no such entry, or it is damaged.
        """
        directory = self.directory / entry_name(family, version, self.platform)
        document = peek_json(directory / Entry.FILE, Entry.SCHEMA)
        if document is None:
            self.refuse_newer(directory)
            state = "is not complete" if directory.exists() else "does not exist"
            raise BinaryError(f"{directory} {state}")
        entry = Entry.from_json(directory, document)
        if directory.name != entry.name:
            raise BinaryError(f"{directory} holds {entry.name}")
        return _restored(entry)

    def is_newer(self, directory: Path) -> bool:
        """Whether a newer version of this plugin, with another schema, made the entry: then it alone may touch it."""
        document = peek_json(directory / Entry.FILE, sys.maxsize)
        return document is not None and document["schema"] > Entry.SCHEMA

    def refuse_newer(self, directory: Path) -> None:
        """Raise :class:`BinaryError` for an entry of a newer version, which is left alone."""
        if self.is_newer(directory):
            raise BinaryError(
                f"{directory} was made by a newer version of pytest-kina, and is left alone",
                next_step="upgrade pytest-kina, or set KINA_HOME to another directory",
            )

    def versions(self, family: str) -> list[Version]:
        """The complete versions of a family for this platform, newest first."""
        found = []
        for path in self.directory.glob(f"{family}-v*-{self.platform.suffix}/{Entry.FILE}"):
            middle = path.parent.name.removeprefix(f"{family}-").removesuffix(f"-{self.platform.suffix}")
            with suppress(ValueError):
                found.append(Version.parse(middle))
        return sorted(found, reverse=True)

    def directories(self) -> list[Path]:
        """The directories of all entries, of any platform, complete or not."""
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith("."))

    def toolchains(self) -> list[Path]:
        """The private Go toolchains beside the store; their locks have their names."""
        return sorted(self.directory.parent.glob("go-toolchain-*"))

    @contextmanager
    def staging(self, family: str, version: Version) -> Iterator[Path]:
        """A temporary directory to fill, and to :meth:`publish`; call it with the entry's lock held.

        What killed processes left of the same entry is removed first. Raises :class:`BinaryError` when there is an
        entry of a newer version already.
        """
        self.refuse_newer(self.directory / entry_name(family, version, self.platform))
        prefix = f".tmp-{entry_name(family, version, self.platform)}-"
        for left in self.directory.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        directory = self.directory / f"{prefix}{secrets.token_hex(4)}"
        private_directory(directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def publish(self, staging: Path, family: str, version: Version, source: str) -> Entry:
        """Make a filled staging directory an entry, in the place of a damaged one. Raises :class:`OSError`.

        Symbolic links in it become the entry's aliases.
        """
        files, aliases = {}, {}
        for path in sorted(staging.iterdir()):
            if path.is_symlink():
                aliases[path.name] = str(path.readlink())
                continue
            path.chmod(0o755)
            _sync_file(path)
            files[path.name] = StoredFile.of(path)
        final = self.directory / entry_name(family, version, self.platform)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(final, family, version, self.platform, files, aliases, source, created)
        with crashpoints.around("publish.complete"):
            write_json(staging / Entry.FILE, Entry.SCHEMA, entry.to_json(), sync=True)
        with crashpoints.around("publish.replace"):
            self.remove(final)
        with crashpoints.around("publish.move"):
            staging.rename(final)
        sync_directory(self.directory)
        return entry

    def remove(self, directory: Path) -> None:
        """Take an entry away at once: renamed first, so that nobody sees half of it; call it with its lock held.

        Raises :class:`BinaryError` for an entry of a newer version.
        """
        self.refuse_newer(directory)
        aside = self.directory / f".tmp-{directory.name}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            directory.rename(aside)
            with crashpoints.around("store.remove"):
                shutil.rmtree(aside, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes left half done; what somebody is at work on stays."""
        from filelock import FileLock, Timeout

        for left in [*self.directory.glob(".tmp-*"), *self.hidden("work").iterdir()]:
            name = left.name if left.parent.name == ".work" else left.name.removeprefix(".tmp-").rpartition("-")[0]
            lock = FileLock(self._lock_path(name), thread_local=False, fallback_to_soft=False, mode=0o600)
            with suppress(Timeout), lock.acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)

    def _lock_path(self, name: str) -> Path:
        return self.hidden("locks") / f"{name}.lock"

    @contextmanager
    def lock(self, name: str, what: str, progress: Progress) -> Iterator[None]:
        """Be the only process that makes ``name``; ``what`` is what others are told while they wait.

        Waits as long as the holder lives, and says through ``progress`` who that is and since when.
        """
        from filelock import FileLock, Timeout

        path = self._lock_path(name)
        lock = FileLock(path, thread_local=False, fallback_to_soft=False, mode=0o600)
        holder = path.with_suffix(".json")
        patience = 0.0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=patience, poll_interval=_POLL)
            except Timeout:
                patience = _REPORT_EVERY
                progress(_waiting_for(holder, name))
        try:
            for left in path.parent.glob(f".{holder.name}.*.tmp"):  # by a holder that was killed
                left.unlink(missing_ok=True)
            write_json(holder, 1, {"pid": os.getpid(), "since": time.time(), "what": what})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _restored(entry: Entry) -> Entry:
    """Check every file, and bring back what a copy of the directory may have lost: times, modes, links."""
    seen = {name: _checked(entry.path(name), stored) for name, stored in entry.files.items()}
    for alias, name in entry.aliases.items():
        if not entry.path(alias).exists():
            _link(entry.path(alias), name)
    if seen != dict(entry.files):
        entry = replace(entry, files=seen)
        write_json(entry.directory / Entry.FILE, Entry.SCHEMA, entry.to_json(), sync=True)
    return entry


def _checked(path: Path, stored: StoredFile) -> StoredFile:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise BinaryError(f"{path} is missing") from None
    if not status.st_mode & 0o100:
        path.chmod(0o755)
    if (status.st_size, status.st_mtime_ns) == (stored.size, stored.mtime_ns):
        return stored
    now = StoredFile.of(path)
    if now.sha256 != stored.sha256:
        raise BinaryError(f"{path} was changed: SHA-256 {now.sha256}, expected {stored.sha256}")
    return now


def _link(path: Path, name: str) -> None:
    with suppress(FileExistsError):
        path.symlink_to(name)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _waiting_for(holder: Path, name: str) -> str:
    known = peek_json(holder, 1)
    if known is None:
        return f"waiting for another process that is making {name}"
    since = datetime.fromtimestamp(known["since"]).astimezone().strftime("%H:%M:%S")
    return f"waiting for process {known['pid']}, {known['what']} since {since}"
