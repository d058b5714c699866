"""The downloader against a real server that behaves and misbehaves."""

import hashlib
import io
import socket
import sys
import tarfile
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request

import pytest

from pytest_kina.binaries import downloads
from pytest_kina.binaries.downloads import Downloader, Origins, Patience
from pytest_kina.binaries.inspection import verify
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from tests.support.release_server import ReleaseServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server publishes executables for Linux")

KUBERNETES = Version(1, 36, 3)
ETCD = Version(3, 6, 16)
KWOK = Version(0, 8, 0)


@pytest.fixture
def downloader(release_server: ReleaseServer, here: Platform) -> Downloader:
    """A downloader that asks the test's server only, and soon loses patience."""
    release_server.publish_kubernetes("v1.36.3", here.arch)
    release_server.publish_etcd("v3.6.16", here.arch)
    release_server.publish_kwok("v0.8.0", here.arch)
    return Downloader(Origins.of(release_server.url), here, silent, Patience(stall=0.3, rate=1000))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty directory."""
    path = tmp_path / "target"
    path.mkdir()
    return path


def server_path(here: Platform, name: str) -> str:
    """Where Kubernetes publishes an executable."""
    return f"/release/v1.36.3/bin/linux/{here.arch}/{name}"


@pytest.mark.parametrize(
    ("family", "version", "files"),
    [
        ("kubernetes", KUBERNETES, ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]),
        ("kubectl", KUBERNETES, ["kubectl"]),
        ("etcd", ETCD, ["etcd", "etcdutl"]),
        ("kwok", KWOK, ["kwok"]),
    ],
)
def test_release_is_fetched_whole(
    downloader: Downloader, here: Platform, target: Path, family: str, version: Version, files: list[str]
) -> None:
    """All executables of a release arrive, run, and nothing else is left."""
    source = downloader.fetch(family, version, target)
    assert source.startswith("http://127.0.0.1:")
    assert sorted(path.name for path in target.iterdir()) == files
    verify(target, family, version, here)


@pytest.mark.parametrize("code", [403, 404, 500, 503])
def test_refusal_names_address_and_status(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path, code: int
) -> None:
    """A server that refuses is quoted with the address."""
    path = server_path(here, "kube-scheduler")
    release_server.troubles[path] = code
    with pytest.raises(BinaryError, match=f"{path}: HTTP {code} "):
        downloader.fetch("kubernetes", KUBERNETES, target)


def test_truncated_file_is_refused(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """A connection that ends early is told from a wrong content."""
    path = server_path(here, "kubectl")
    release_server.troubles[path] = "short"
    size = len(release_server.files[path])
    with pytest.raises(BinaryError, match=f"{path}: ended after {size // 2} of {size} bytes"):
        downloader.fetch("kubectl", KUBERNETES, target)


def test_silent_server_is_given_up(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """A server that stops sending is given up after the patience that was configured."""
    path = server_path(here, "kubectl")
    release_server.troubles[path] = "silent"
    with pytest.raises(BinaryError, match=rf"{path}: sent nothing for 0\.3 s"):
        downloader.fetch("kubectl", KUBERNETES, target)


def test_trickling_server_is_given_up(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """A server that sends a byte now and then never reaches the time-out of a read, and is given up all the same."""
    path = server_path(here, "kubectl")
    release_server.troubles[path] = "trickle"
    with pytest.raises(BinaryError, match=rf"{path}: too slow, \d+ bytes in 0 s"):
        downloader.fetch("kubectl", KUBERNETES, target)


def test_wrong_content_is_refused_and_removed(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """Content that differs from the published digest is refused with both, and not kept."""
    path = server_path(here, "kubectl")
    release_server.troubles[path] = "garbage"
    expected = hashlib.sha512(release_server.files[path]).hexdigest()
    with pytest.raises(BinaryError, match=f"{path}: sha512 is [0-9a-f]{{128}}, expected {expected}"):
        downloader.fetch("kubectl", KUBERNETES, target)
    assert list(target.iterdir()) == []


def test_sha256_serves_where_there_is_no_sha512(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """A release that has only the shorter digest is verified with that one."""
    del release_server.files[server_path(here, "kubectl.sha512")]
    downloader.fetch("kubectl", KUBERNETES, target)
    assert server_path(here, "kubectl.sha256") in release_server.requests


def test_digest_that_is_none_is_refused_before_the_download(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """A page in the place of a digest is shown, and the file is not even asked for."""
    for algorithm in ("sha512", "sha256"):  # on a busy machine the first answer may come too late
        release_server.files[server_path(here, f"kubectl.{algorithm}")] = b"<html>please log in</html>"
    with pytest.raises(BinaryError, match=r"expected a digest, got '<html>please log in</html>'"):
        downloader.fetch("kubectl", KUBERNETES, target)
    assert server_path(here, "kubectl") not in release_server.requests


def test_nothing_is_fetched_without_a_digest(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """Without any digest the executable is not asked for."""
    release_server.troubles |= {server_path(here, f"kubectl.{kind}"): 404 for kind in ("sha512", "sha256")}
    with pytest.raises(BinaryError, match=r"kubectl\.sha256: HTTP 404"):
        downloader.fetch("kubectl", KUBERNETES, target)
    assert server_path(here, "kubectl") not in release_server.requests


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("/etcd-io/etcd/releases/download/v3.6.16/SHA256SUMS", b"", "SHA256SUMS does not list etcd-v3.6.16-linux"),
        ("/repos/kubernetes-sigs/kwok/releases/tags/v0.8.0", b"{}", "expected a release, got something else"),
        ("/repos/kubernetes-sigs/kwok/releases/tags/v0.8.0", b'{"assets": []}', "states no SHA-256 for kwok-linux"),
    ],
)
def test_a_release_that_states_no_digest_is_refused(
    downloader: Downloader, release_server: ReleaseServer, target: Path, file: str, content: bytes, words: str
) -> None:
    """Etcd's list and kwok's release description must state the digest of the file for this platform."""
    release_server.files[file] = content
    family, version = ("etcd", ETCD) if "etcd" in file else ("kwok", KWOK)
    with pytest.raises(BinaryError, match=words):
        downloader.fetch(family, version, target)


def test_suspicious_archive_is_refused(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """An archive with a link is refused although its digest is right."""
    link = tarfile.TarInfo("etcd-v3.6.16/etcd-link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    release_server.publish_etcd("v3.6.16", here.arch, extra=link)
    with pytest.raises(BinaryError, match=r"'etcd-v3\.6\.16/etcd-link', which is a link or a device"):
        downloader.fetch("etcd", ETCD, target)


def test_unreachable_server_is_asked_once(here: Platform, target: Path) -> None:
    """Where nobody listens, the error says so, and later requests do not wait for it again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        downloader = Downloader(Origins.of(f"http://{address}"), here, silent, Patience())
        with pytest.raises(BinaryError, match=f"{address} cannot be reached"):
            downloader.fetch("kubectl", KUBERNETES, target)
        with pytest.raises(BinaryError, match=f"SHA256SUMS: not tried, since {address} cannot be reached"):
            downloader.fetch("etcd", ETCD, target)


def test_newest_patch_of_a_minor(downloader: Downloader, release_server: ReleaseServer) -> None:
    """The server's stable file names the newest patch; anything else in it is refused."""
    release_server.files["/release/stable-1.33.txt"] = b"v1.33.13\n"
    assert downloader.newest_patch("1.33") == Version(1, 33, 13)
    release_server.files["/release/stable-1.32.txt"] = b"v1.33.13\n"
    with pytest.raises(BinaryError, match=r"expected a patch of 1\.32, got v1\.33\.13"):
        downloader.newest_patch("1.32")
    release_server.files["/release/stable-1.31.txt"] = b"hello"
    with pytest.raises(BinaryError, match=r"expected a version, got 'hello'"):
        downloader.newest_patch("1.31")


def test_servers_exist_for_linux_only(release_server: ReleaseServer, target: Path) -> None:
    """For macOS no server is published, and nothing is asked for."""
    downloader = Downloader(Origins.of(release_server.url), Platform("darwin", "arm64"), silent, Patience())
    with pytest.raises(BinaryError, match="Kubernetes publishes no servers for darwin/arm64"):
        downloader.fetch("kubernetes", KUBERNETES, target)
    assert release_server.requests == []


@pytest.mark.parametrize("mirror", ["/srv/mirror", "file:///srv/mirror", "ftp://host"])
def test_mirror_must_be_a_web_address(mirror: str) -> None:
    """A path is not taken for a mirror."""
    with pytest.raises(BinaryError, match="is no address of the form https://host/path"):
        Origins.of(mirror)


def test_mirror_replaces_all_origins() -> None:
    """No official address is asked beside a mirror, and a slash at the end does not matter."""
    assert Origins.of("https://mirror.example/k8s/") == Origins.of("https://mirror.example/k8s")
    assert Origins.of("https://mirror.example").github == "https://mirror.example"


def test_progress_counts_bytes(release_server: ReleaseServer, here: Platform, target: Path) -> None:
    """While a large file arrives, the share that is there is told, in MiB."""
    told: list[tuple[str, int, int]] = []
    big = bytes(9 << 20)
    path = server_path(here, "kubectl")
    release_server.files |= {path: big, f"{path}.sha512": hashlib.sha512(big).hexdigest().encode()}
    record: Callable[..., None] = lambda what, step=0, steps=0: told.append((what, step, steps))  # noqa: E731
    Downloader(Origins.of(release_server.url), here, record, Patience()).fetch("kubectl", KUBERNETES, target)
    arriving = [entry for entry in told if entry[0].startswith("downloading ")]
    assert arriving[0] == (f"downloading {release_server.url}{path}", 0, 9)
    assert [step for _, step, _ in arriving] == sorted(step for _, step, _ in arriving)
    assert told[-1][1:] == (8, 9)


@pytest.mark.parametrize(
    ("family", "version", "path"),
    [
        ("kubectl", KUBERNETES, "/release/v1.36.3/bin/linux/{}/kubectl.sha512"),
        ("etcd", ETCD, "/etcd-io/etcd/releases/download/v3.6.16/SHA256SUMS"),
        ("kwok", KWOK, "/repos/kubernetes-sigs/kwok/releases/tags/v0.8.0"),
    ],
)
@pytest.mark.usefixtures("downloader")
def test_progress_is_told_before_a_slow_server_answers(
    release_server: ReleaseServer, here: Platform, target: Path, family: str, version: Version, path: str
) -> None:
    """Whoever waits for a checksum or a description knows which address is asked, before the answer begins."""
    slow = path.format(here.arch)
    release_server.troubles[slow] = "silent"
    told: list[tuple[str, int]] = []

    def record(what: str, step: int = 0, steps: int = 0) -> None:
        told.append((what, len(release_server.requests)))

    patient = Downloader(Origins.of(release_server.url), here, record, Patience(stall=0.3, rate=1000))
    if family == "kubectl":  # it falls back to the other checksum
        patient.fetch(family, version, target)
    else:
        with pytest.raises(BinaryError, match=r"sent nothing for 0\.3 s"):
            patient.fetch(family, version, target)
    assert told[0] == (f"asking {release_server.url}{slow}", 0)


def test_progress_is_told_before_the_newest_patch_is_known(release_server: ReleaseServer, here: Platform) -> None:
    """The question for a minor's newest patch is told as well."""
    release_server.files["/release/stable-1.33.txt"] = b"v1.33.9"
    told: list[tuple[str, int]] = []

    def record(what: str, step: int = 0, steps: int = 0) -> None:
        told.append((what, len(release_server.requests)))

    Downloader(Origins.of(release_server.url), here, record, Patience()).newest_patch("1.33")
    assert told == [(f"asking {release_server.url}/release/stable-1.33.txt", 0)]


def test_redirects_are_followed(
    downloader: Downloader, release_server: ReleaseServer, here: Platform, target: Path
) -> None:
    """Official addresses lead to content networks; the digest is checked at the end of the way."""
    path = server_path(here, "kubectl")
    release_server.files["/elsewhere"] = release_server.files.pop(path)
    release_server.redirects[path] = "/elsewhere"
    downloader.fetch("kubectl", KUBERNETES, target)
    verify(target, "kubectl", KUBERNETES, here)


def test_redirect_to_an_unencrypted_address_is_refused() -> None:
    """From HTTPS there is no way to HTTP, however the server asks."""
    (handler,) = [one for one in downloads._opener().handlers if isinstance(one, HTTPRedirectHandler)]
    request = Request("https://releases.example/kubectl")
    with pytest.raises(BinaryError, match=r"redirects to http://other\.example/kubectl, which is not encrypted"):
        handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://other.example/kubectl")
    onward = handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "https://other.example/kubectl")
    assert onward is not None


def test_only_web_addresses_are_opened() -> None:
    """The opener that downloads use has no handler for files of this machine."""
    with pytest.raises(URLError, match="unknown url type: file"):
        downloads._opener().open("file:///etc/hosts")
