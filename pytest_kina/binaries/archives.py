"""Archives from elsewhere, read with suspicion, and bundles of our own entries.

An archive with an absolute path, a ``..``, a link or a device is refused as a whole: somebody made it on purpose.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from pytest_kina.binaries.inspection import verify
from pytest_kina.binaries.releases import FAMILIES
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import Progress

_CHUNK = 1 << 20
_DESCRIPTION_LIMIT = 1 << 20


class _Archive(Protocol):
    """Regular files by their names in the archive."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each regular file."""

    def open(self, name: str) -> IO[bytes]:
        """The content of one of them."""


@dataclass(frozen=True, slots=True)
class _Tar:
    file: tarfile.TarFile
    sizes: Mapping[str, int]

    def open(self, name: str) -> IO[bytes]:
        stream = self.file.extractfile(name)
        if stream is None:
            raise BinaryError(f"{name} is not a file")
        return stream


@dataclass(frozen=True, slots=True)
class _Zip:
    file: zipfile.ZipFile
    sizes: Mapping[str, int]

    def open(self, name: str) -> IO[bytes]:
        return self.file.open(name)


def unpack(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write the files of ``wanted`` (last part of the name in the archive, place on disk), and nothing else.

    Raises :class:`BinaryError` when a member is suspicious or a wanted one is missing.
    """
    with _opened(archive) as opened:
        names = {PurePosixPath(name).name: name for name in opened.sizes}
        for name, place in wanted.items():
            if name not in names:
                raise BinaryError(f"{archive.name} does not contain {name}")
            with opened.open(names[name]) as source, place.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)


def bundle(entries: Sequence[Entry], output: Path) -> None:
    """Write one tar with complete entries (compressed when it is called ``.gz`` or ``.tgz``). Raises BinaryError.

    Links are left out: the importing side makes them anew from ``COMPLETE``.
    """
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with tarfile.open(temporary, "w:gz" if output.suffix in (".gz", ".tgz") else "w") as tar:
            for entry in entries:
                for name in (Entry.FILE, *entry.files):
                    tar.add(entry.directory / name, f"{entry.name}/{name}", filter=_anonymous)
        temporary.replace(output)
    except OSError as error:
        raise BinaryError(
            f"{output} cannot be written: {error.strerror}",
            next_step="name a file in an existing directory that has room and that you may write to",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def import_bundle(archive: Path, store: Store, progress: Progress) -> list[Entry]:
    """Add the entries of a bundle to the store; those that it has already stay as they are.

    Raises :class:`BinaryError` when the archive cannot be read, is suspicious, made for another platform, or
    a digest differs.
    """
    try:
        archive.open("rb").close()
    except OSError as error:
        raise BinaryError(
            f"{archive} cannot be read ({error.strerror}); expected what `pytest-kina binaries bundle` writes",
            next_step="run `pytest-kina binaries bundle FILE` on a machine that has the binaries, and import that file",
        ) from error
    with _opened(archive) as opened:
        folders = sorted({PurePosixPath(name).parts[0] for name in opened.sizes})
        described = [_described(opened, folder) for folder in folders]
        if not described:
            raise BinaryError(f"{archive} is empty; expected what `pytest-kina binaries bundle` writes")
        return [_import_entry(opened, entry, store, archive, progress) for entry in described]


def _described(opened: _Archive, folder: str) -> Entry:
    name = f"{folder}/{Entry.FILE}"
    if opened.sizes.get(name, _DESCRIPTION_LIMIT) >= _DESCRIPTION_LIMIT:
        raise BinaryError(f"{folder} in the archive has no {Entry.FILE}")
    with opened.open(name) as stream:
        content = stream.read()
    try:
        document = json.loads(content)
        newer = document["schema"] > Entry.SCHEMA
    except (ValueError, KeyError, TypeError) as error:
        raise BinaryError(f"{name} in the archive is not a description: {error!r}") from error
    if newer:
        raise BinaryError(f"{name} was written by a newer version of pytest-kina", next_step="update pytest-kina")
    entry = Entry.from_json(Path(folder), document)
    members = {name.partition("/")[2] for name in opened.sizes if name.startswith(f"{folder}/")}
    if entry.name != folder or members != {Entry.FILE, *entry.files} or entry.family not in FAMILIES:
        raise BinaryError(f"{folder} in the archive does not hold what its {Entry.FILE} says")
    return entry


def _import_entry(opened: _Archive, entry: Entry, store: Store, archive: Path, progress: Progress) -> Entry:
    if entry.platform != store.platform:
        raise BinaryError(f"{entry.name} is made for {entry.platform}, this machine is {store.platform}")
    with store.lock(entry.name, f"importing {entry.name}", progress):
        try:
            return store.find(entry.family, entry.version)
        except BinaryError:
            progress(f"importing {entry.name}")
        with store.staging(entry.family, entry.version) as staging:
            for name, stored in entry.files.items():
                _copy(opened, f"{entry.name}/{name}", staging / name, stored.sha256, stored.size)
            for alias, name in entry.aliases.items():
                (staging / alias).symlink_to(name)
            verify(staging, entry.family, entry.version, store.platform)
            source = f"imported from {archive.name}; {entry.source}"
            return store.publish(staging, entry.family, entry.version, source)


def _copy(opened: _Archive, name: str, place: Path, digest: str, size: int) -> None:
    if opened.sizes[name] != size:
        raise BinaryError(f"{name} in the archive has {opened.sizes[name]} bytes, expected {size}")
    hasher = hashlib.sha256()
    with opened.open(name) as source, place.open("wb") as target:
        while chunk := source.read(_CHUNK):
            hasher.update(chunk)
            target.write(chunk)
    if hasher.hexdigest() != digest:
        raise BinaryError(f"{name} in the archive has SHA-256 {hasher.hexdigest()}, expected {digest}")


@contextmanager
def _opened(archive: Path) -> Iterator[_Archive]:
    """The regular files of a tar or zip archive, after every member has been looked at."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                yield _Zip(file, {info.filename: info.file_size for info in file.infolist() if _harmless_zip(info)})
        else:
            with tarfile.open(archive) as tar:
                yield _Tar(tar, {info.name: info.size for info in tar if _harmless_tar(info)})
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile) as error:
        why = str(error).partition(":\n")[0]  # what each method of decompression makes of it says nothing more
        raise BinaryError(
            f"{archive} is not a readable archive: {why}", next_step="get it again: it is damaged or cut short"
        ) from error


def _harmless_tar(member: tarfile.TarInfo) -> bool:
    _refuse_escape(member.name)
    if not member.isfile() and not member.isdir():
        raise BinaryError(f"the archive contains {member.name!r}, which is a link or a device; refused as a whole")
    return member.isfile()


def _harmless_zip(member: zipfile.ZipInfo) -> bool:
    _refuse_escape(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BinaryError(f"the archive contains {member.filename!r}, which is a link or a device; refused as a whole")
    return not member.is_dir()


def _refuse_escape(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise BinaryError(f"the archive contains {name!r}, which leads out of its directory; refused as a whole")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's names and numbers belong into a bundle."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
