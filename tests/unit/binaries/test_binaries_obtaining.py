"""The whole search: stores, a server that may fail, a Go that may fail, and several processes at once."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.binaries import Assets, obtain
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import DEFAULT_COMPONENTS, Version
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from tests.support.release_server import ReleaseServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server publishes executables for Linux")

Ask = Callable[..., Assets]

ASK = """
import json, sys
from pathlib import Path
from pytest_kina.binaries import obtain
told = []
assets = obtain("1.36", ["kube-apiserver", "etcd"], root=Path(sys.argv[1]), offline=False, mirror=sys.argv[2],
                progress=lambda what, step=0, steps=0: told.append(what))
print(json.dumps({"digests": dict(assets.digests), "told": told}))
"""


HEAVY = ("filelock", "ssl", "asyncio", "yaml", "kubernetes", "urllib.request", "http.client", "tarfile", "zipfile")

LOADED = """
import json, sys
from pathlib import Path
from pytest_kina.binaries import obtain
from pytest_kina.progress import silent
obtain("1.36", ["kwok"], root=Path(sys.argv[1]), offline=False, progress=silent)
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


LIMITED = """
import resource, sys
from pathlib import Path
from pytest_kina.binaries import obtain
from pytest_kina.progress import silent
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))
obtain("1.36", ["kubectl"], root=Path(sys.argv[1]), offline=False, mirror=sys.argv[2], progress=silent)
"""


@pytest.fixture
def mirror(release_server: ReleaseServer, here: Platform) -> ReleaseServer:
    """A mirror with the default releases."""
    release_server.publish_kubernetes("v1.36.3", here.arch)
    release_server.publish_etcd("v3.6.16", here.arch)
    release_server.publish_kwok("v0.8.0", here.arch)
    return release_server


@pytest.fixture
def ask(root: Path, release_server: ReleaseServer) -> Ask:
    """Looks on this machine, then on the test's server."""

    def ask(*components: str, version: str = "1.36", offline: bool = False) -> Assets:
        url = release_server.url
        return obtain(version, components, root=root, offline=offline, mirror=url, progress=silent)

    return ask


def test_download_fills_the_store(ask: Ask, mirror: ReleaseServer, store: Store) -> None:
    """An empty machine gets all default components, and the store knows where they come from."""
    assets = ask(*DEFAULT_COMPONENTS)
    assert assets.versions == {"etcd": "v3.6.16", "kubernetes": "v1.36.3", "kwok": "v0.8.0"}
    assert list(assets.paths) == list(DEFAULT_COMPONENTS)
    entry = store.find("kubernetes", Version(1, 36, 3))
    assert entry.source.startswith(f"{mirror.url}/release/v1.36.3/bin/linux/")
    assert assets.digests["kube-scheduler"] == entry.digest("kube-scheduler")
    assert list(store.directory.glob(".tmp-*")) == []


def test_progress_begins_as_soon_as_the_lock_is_held(mirror: ReleaseServer, root: Path) -> None:
    """Who has taken the store's lock says so before the first request, and which address is asked next."""
    told: list[tuple[str, int]] = []

    def record(what: str, step: int = 0, steps: int = 0) -> None:
        told.append((what, len(mirror.requests)))

    obtain("1.36", ["kwok"], root=root, offline=False, mirror=mirror.url, progress=record)
    assert told[0] == ("preparing kwok v0.8.0", 0)
    assert told[1] == (f"asking {mirror.url}/repos/kubernetes-sigs/kwok/releases/tags/v0.8.0", 0)


def test_second_time_needs_neither_network_nor_processes(
    ask: Ask, mirror: ReleaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a complete store nothing is asked, started or hashed."""
    first = ask(*DEFAULT_COMPONENTS)
    mirror.requests.clear()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("not needed")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr("hashlib.file_digest", forbidden)
    assert ask(*DEFAULT_COMPONENTS) == first
    assert mirror.requests == []


def test_a_complete_store_loads_nothing_heavy(stored: Callable[[str, str], Entry], root: Path) -> None:
    """A run that has its binaries pays neither for locks nor for networks nor for archives."""
    stored("kwok", "0.8.0")
    argv = [sys.executable, "-c", LOADED, str(root), *HEAVY]
    assert json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout) == []


def test_api_server_alone_brings_its_family(ask: Ask, mirror: ReleaseServer, store: Store) -> None:
    """Asking for one server stores all three, so that a later request for the others is served."""
    assert list(ask("kube-apiserver").paths) == ["kube-apiserver"]
    assert list(ask("kube-scheduler", offline=True).paths) == ["kube-scheduler"]


def test_offline_asks_nobody_and_says_what_is_there(
    ask: Ask, mirror: ReleaseServer, stored: Callable[[str, str], Entry]
) -> None:
    """Offline mode makes no request, builds nothing, and lists the versions of the store."""
    stored("kubernetes", "1.35.4")
    stored("etcd", "3.6.16")
    with pytest.raises(BinaryError) as caught:
        ask("kube-apiserver", offline=True)
    assert "offline mode is on" in str(caught.value)
    assert "The store has kubernetes: v1.35.4; kubectl: none; etcd: v3.6.16; kwok: none." in str(caught.value)
    assert [reason for reason in caught.value.details["reasons"] if "download" in reason[0]] == []
    assert mirror.requests == []


def test_offline_takes_the_nearest_patch(ask: Ask, stored: Callable[[str, str], Entry]) -> None:
    """Offline, a request for a minor is served by the newest stored patch; a request for a patch is not."""
    stored("kubernetes", "1.36.1")
    stored("kubernetes", "1.36.2")
    assert ask("kube-apiserver", offline=True).versions == {"kubernetes": "v1.36.2"}
    assert ask("kube-apiserver", version="1.36.1", offline=True).versions == {"kubernetes": "v1.36.1"}
    with pytest.raises(BinaryError, match="offline mode is on"):
        ask("kube-apiserver", version="1.36.3", offline=True)


def test_online_prefers_the_known_good_patch(
    ask: Ask, mirror: ReleaseServer, stored: Callable[[str, str], Entry]
) -> None:
    """Online, a minor means the patch of the table, though an older one is stored."""
    stored("kubernetes", "1.36.1")
    assert ask("kube-apiserver").versions == {"kubernetes": "v1.36.3"}


@pytest.mark.parametrize("trouble", [403, 404, 500, "short", "garbage"])
def test_failed_download_is_recorded_and_the_build_tried(
    ask: Ask, mirror: ReleaseServer, store: Store, here: Platform, trouble: int
) -> None:
    """After a failed download the build is tried; the error has both reasons, and nothing is left in the store."""
    path = f"/release/v1.36.3/bin/linux/{here.arch}/kube-scheduler"
    mirror.troubles[path] = trouble
    with pytest.raises(BinaryError) as caught:
        ask("kube-apiserver")
    reasons = dict(caught.value.details["reasons"])
    assert path in reasons["download"]
    assert "building kubernetes v1.36.3 failed" in reasons["build"]
    assert "no module here" in reasons["build"]
    assert store.directories() == []
    assert list(store.directory.glob(".tmp-*")) == []


def test_download_of_another_version_is_refused(ask: Ask, mirror: ReleaseServer, store: Store, here: Platform) -> None:
    """A mirror that serves another version with a matching digest is found out by running it."""
    mirror.publish_kubernetes("v1.36.3", here.arch, says="v1.36.2")
    with pytest.raises(BinaryError, match=r"kube-apiserver says that it is v1\.36\.2, expected v1\.36\.3"):
        ask("kube-apiserver")
    assert store.directories() == []


def test_download_for_another_processor_is_refused(ask: Ask, mirror: ReleaseServer, here: Platform) -> None:
    """A mirror that serves executables for another processor is found out before one is run."""
    other = "arm64" if here.arch == "amd64" else "amd64"
    mirror.publish_kubernetes("v1.36.3", other)
    for path in [path for path in mirror.files if f"/linux/{other}/" in path]:
        mirror.files[path.replace(other, here.arch)] = mirror.files[path]
    with pytest.raises(BinaryError, match=f"is made for linux/{other}, this machine is {here}"):
        ask("kube-apiserver")


def test_damaged_entry_is_fetched_anew(ask: Ask, mirror: ReleaseServer, store: Store) -> None:
    """An entry that was changed is replaced by a good one."""
    first = ask("kwok")
    first.paths["kwok"].write_bytes(b"\x7fELF changed")
    assert ask("kwok") == first
    assert store.find("kwok", Version(0, 8, 0)).digest("kwok") == first.digests["kwok"]


def test_unknown_minor_is_asked_for(ask: Ask, release_server: ReleaseServer, here: Platform) -> None:
    """For a minor that the table does not have, the server says the newest patch; later the store answers."""
    release_server.files["/release/stable-1.33.txt"] = b"v1.33.13"
    release_server.publish_kubernetes("v1.33.13", here.arch)
    assert ask("kube-apiserver", version="1.33").versions == {"kubernetes": "v1.33.13"}
    release_server.requests.clear()
    assert ask("kube-apiserver", version="1.33").versions == {"kubernetes": "v1.33.13"}
    assert release_server.requests == []


def test_minor_that_nobody_knows(ask: Ask) -> None:
    """When no source knows a patch of the minor, the error says whom it asked."""
    with pytest.raises(BinaryError) as caught:
        ask("kube-apiserver", version="1.99")
    assert str(caught.value).startswith("no source has Kubernetes 1.99; known: 1.34 (v1.34.4), 1.35 (v1.35.4), ")
    reasons = dict(caught.value.details["reasons"])
    assert "stable-1.99.txt: HTTP 404" in reasons["newest patch, by download"]
    assert "no module here" in reasons["newest patch, by module proxy"]


@pytest.mark.parametrize(("version", "component"), [("1.36.99", "kube-apiserver"), ("1.99", "kubectl")])
def test_offline_says_what_is_known(root: Path, version: str, component: str) -> None:
    """Offline, a patch or minor that the table lacks is an error that begins with what is known; others do not."""
    with pytest.raises(BinaryError, match=rf"^no source has Kubernetes {version}; known: 1\.34"):
        obtain(version, [component], root=root, offline=True, progress=silent)
    with pytest.raises(BinaryError, match=r"^kubernetes v1\.36\.3 for .* is not on this machine"):
        obtain("1.36", ["kube-apiserver"], root=root, offline=True, progress=silent)


def test_unusable_store_is_a_reason_not_a_crash(ask: Ask, mirror: ReleaseServer, root: Path) -> None:
    """When the store cannot be made, the error has what the operating system said."""
    root.mkdir()
    (root / "binaries").write_text("in the way")
    with pytest.raises(BinaryError, match=r"Not a directory|File exists"):
        ask("kwok")


def test_file_that_cannot_be_written_whole_is_a_reason(root: Path, mirror: ReleaseServer, here: Platform) -> None:
    """When the system refuses to write more, the error has its words, and no half of a file is left."""
    big = bytes(256 << 10)
    path = f"/release/v1.36.3/bin/linux/{here.arch}/kubectl"
    mirror.files |= {path: big, f"{path}.sha512": hashlib.sha512(big).hexdigest().encode()}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(root), mirror.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "download: [Errno 27] File too large" in done.stderr
    assert [found for found in (root / "binaries").iterdir() if not found.name.startswith((".locks", ".work"))] == []


def test_two_processes_make_one_download(root: Path, mirror: ReleaseServer) -> None:
    """Of two processes that ask at once, one fetches and the other one gets the same files."""
    argv = [sys.executable, "-c", ASK, str(root), mirror.url]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0]["digests"] == answers[1]["digests"]
    files = [path for path in mirror.requests if path.endswith(("/kube-apiserver", ".tar.gz"))]
    assert len(files) == 2, files
