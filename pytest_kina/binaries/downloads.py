"""Downloading official releases: every byte is hashed while it streams, and nothing unverified is kept.

Protocols: Kubernetes publishes single executables with ``.sha512`` and ``.sha256`` files beside them
(``/release/<version>/bin/<os>/<arch>/<name>``); etcd publishes archives and one ``SHA256SUMS`` per release; kwok
publishes bare executables without checksum files, so their digest is the one that GitHub's releases API states.
A mirror is one base address under which the paths are the same.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_kina import crashpoints
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import FAMILIES, Version
from pytest_kina.errors import BinaryError
from pytest_kina.progress import Progress

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse
    from typing import IO
    from urllib.request import OpenerDirector

_CHUNK = 1 << 18
_TEXT_LIMIT = 4 << 20
_REPORT_EVERY = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Base addresses, without a slash at the end."""

    kubernetes: str = "https://dl.k8s.io"
    github: str = "https://github.com"
    github_api: str = "https://api.github.com"

    @classmethod
    def of(cls, mirror: str | None) -> Origins:
        """The official ones, or one mirror for all. Raises :class:`BinaryError` when it is no web address."""
        if mirror is None:
            return cls()
        if urlsplit(mirror).scheme not in ("http", "https"):
            raise BinaryError(f"the mirror {mirror!r} is no address of the form https://host/path")
        base = mirror.rstrip("/")
        return cls(kubernetes=base, github=base, github_api=base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When a server is too slow: silent for ``stall`` seconds, or on average below ``rate`` bytes/s after that."""

    stall: float = 20.0
    rate: float = 16 << 10


class Downloader:
    """Fetches one platform's executables; an address that did not answer is not asked again."""

    def __init__(self, origins: Origins, platform: Platform, progress: Progress, patience: Patience) -> None:
        self._origins = origins
        self._platform = platform
        self._progress = progress
        self._patience = patience
        self._silent: dict[str, str] = {}

    def fetch(self, family: str, version: Version, target: Path) -> str:
        """Put the executables of a family into the directory ``target``, and say where they come from.

        Raises :class:`BinaryError` when the server refuses, stalls, ends early or sends something else than its
        digest says, and when nothing is published for the platform.
        """
        if family == "etcd":
            return self._etcd(version, target)
        if family == "kwok":
            return self._kwok(version, target)
        if family == "kubernetes" and self._platform.os != "linux":
            raise BinaryError(f"Kubernetes publishes no servers for {self._platform}")
        base = f"{self._origins.kubernetes}/release/{version}/bin/{self._platform.os}/{self._platform.arch}"
        for name in FAMILIES[family]:
            algorithm, digest = self._published_digest(f"{base}/{name}")
            self._stream(f"{base}/{name}", target / name, algorithm, digest)
        return base

    def newest_patch(self, series: str) -> Version:
        """The newest patch of a Kubernetes minor. Raises :class:`BinaryError`."""
        url = f"{self._origins.kubernetes}/release/stable-{series}.txt"
        text = self._text(url)
        try:
            version = Version.parse(text)
        except ValueError as error:
            raise BinaryError(f"{url}: expected a version, got {text[:80]!r}") from error
        if version.series != series:
            raise BinaryError(f"{url}: expected a patch of {series}, got {version}")
        return version

    def _etcd(self, version: Version, target: Path) -> str:
        from pytest_kina.binaries import archives  # with its compressors, 10 ms that a complete store need not pay

        kind = "tar.gz" if self._platform.os == "linux" else "zip"
        base = f"{self._origins.github}/etcd-io/etcd/releases/download/{version}"
        name = f"etcd-{version}-{self._platform.suffix}.{kind}"
        sums = self._text(f"{base}/SHA256SUMS")
        match = re.search(rf"^([0-9a-f]{{64}})\s+\*?{re.escape(name)}$", sums, re.MULTILINE)
        if not match:
            raise BinaryError(f"{base}/SHA256SUMS does not list {name}")
        archive = target / name
        self._stream(f"{base}/{name}", archive, "sha256", match[1])
        with crashpoints.around("unpack"):
            archives.unpack(archive, {component: target / component for component in FAMILIES["etcd"]})
        archive.unlink()
        return f"{base}/{name}"

    def _kwok(self, version: Version, target: Path) -> str:
        repository, name = "kubernetes-sigs/kwok", f"kwok-{self._platform.suffix}"
        described = f"{self._origins.github_api}/repos/{repository}/releases/tags/{version}"
        try:
            assets = json.loads(self._text(described))["assets"]
            stated = {asset["name"]: asset.get("digest") or "" for asset in assets}
        except (ValueError, KeyError, TypeError) as error:
            raise BinaryError(f"{described}: expected a release, got something else ({error!r})") from error
        algorithm, _, digest = stated.get(name, "").partition(":")
        if algorithm != "sha256":
            raise BinaryError(f"{described} states no SHA-256 for {name}")
        url = f"{self._origins.github}/{repository}/releases/download/{version}/{name}"
        self._stream(url, target / "kwok", algorithm, digest)
        return url

    def _published_digest(self, url: str) -> tuple[str, str]:
        try:
            algorithm, text = "sha512", self._text(f"{url}.sha512")
        except BinaryError:
            algorithm, text = "sha256", self._text(f"{url}.sha256")
        digest = text.split()[0].lower() if text.split() else ""
        if not re.fullmatch(r"[0-9a-f]+", digest) or len(digest) != hashlib.new(algorithm).digest_size * 2:
            raise BinaryError(f"{url}.{algorithm}: expected a digest, got {text[:80]!r}")
        return algorithm, digest

    def _text(self, url: str) -> str:
        with self._open(url) as response:
            return b"".join(self._chunks(url, response, _TEXT_LIMIT)).decode(errors="replace").strip()

    def _stream(self, url: str, path: Path, algorithm: str, digest: str) -> None:
        with crashpoints.around("download"):
            found = self._save(url, path, algorithm)
        if found != digest:
            path.unlink()
            raise BinaryError(f"{url}: {algorithm} is {found}, expected {digest}")

    def _save(self, url: str, path: Path, algorithm: str) -> str:
        """Write the body to ``path`` while it arrives; returns its digest."""
        hasher, received, reported = hashlib.new(algorithm), 0, 0
        with self._open(url) as response, path.open("wb") as stream:
            total = int(response.headers.get("Content-Length") or 0)
            self._progress(f"downloading {url}", 0, total >> 20)
            for chunk in self._chunks(url, response):
                hasher.update(chunk)
                stream.write(chunk)
                received += len(chunk)
                if received - reported >= _REPORT_EVERY:
                    reported = received
                    self._progress(f"downloading {url} (MiB)", received >> 20, total >> 20)
        return hasher.hexdigest()

    def _chunks(self, url: str, response: HTTPResponse, limit: int | None = None) -> Iterator[bytes]:
        """The body as it arrives; an end before ``Content-Length``, and a trickle, are errors."""
        expected = response.headers.get("Content-Length")
        received, began = 0, time.monotonic()
        while chunk := response.read1(_CHUNK):
            received += len(chunk)
            seconds = time.monotonic() - began
            if seconds > self._patience.stall and received < self._patience.rate * seconds:
                raise BinaryError(f"{url}: too slow, {received} bytes in {seconds:.0f} s")
            if limit is not None and received > limit:
                raise BinaryError(f"{url}: expected a short text, got more than {limit} bytes")
            yield chunk
        if expected is not None and received != int(expected):
            raise BinaryError(f"{url}: ended after {received} of {expected} bytes")

    @contextmanager
    def _open(self, url: str) -> Iterator[HTTPResponse]:
        """A response with status 200; whatever goes wrong with the connection becomes one sentence."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError

        host = urlsplit(url).netloc
        if host in self._silent:
            raise BinaryError(f"{url}: not tried, since {self._silent[host]}")
        self._progress(f"asking {url}")  # the answer may take as long as patience lasts
        try:
            with _opener().open(url, timeout=self._patience.stall) as response:
                yield response
        except HTTPError as error:
            error.close()
            raise BinaryError(f"{url}: HTTP {error.code} {error.reason}") from error
        except URLError as error:
            self._silent[host] = f"{host} cannot be reached ({error.reason})"
            raise BinaryError(f"{url}: cannot be reached ({error.reason})") from error
        except TimeoutError as error:
            raise BinaryError(f"{url}: sent nothing for {self._patience.stall:g} s") from error
        except (HTTPException, ConnectionError) as error:
            raise BinaryError(f"{url}: the connection broke ({error!r})") from error


def _opener() -> OpenerDirector:
    """An opener that knows HTTP and HTTPS only, and does not follow a redirect from the second to the first."""
    from urllib.request import (
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        HTTPHandler,
        HTTPRedirectHandler,
        HTTPSHandler,
        OpenerDirector,
        ProxyHandler,
        Request,
        UnknownHandler,
    )

    class Upwards(HTTPRedirectHandler):
        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            if req.type == "https" and urlsplit(newurl).scheme != "https":
                raise BinaryError(f"{req.full_url}: redirects to {newurl}, which is not encrypted")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPErrorProcessor, HTTPDefaultErrorHandler, Upwards):
        opener.add_handler(handler())
    opener.add_handler(UnknownHandler())
    return opener
