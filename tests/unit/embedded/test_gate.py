"""The gate: who asks for the credential waits for it, however asking and opening meet."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_kina.providers.embedded.gate import Gate, plugin
from pytest_kina.waiting import Deadline, wait_until


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A directory with one client's pair."""
    (tmp_path / "kcm.crt").write_text("CERTIFICATE")
    (tmp_path / "kcm.key").write_text("KEY")
    return tmp_path


@pytest.fixture
def readers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that ask; all have ended after the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def ask(path: Path) -> subprocess.Popen[bytes]:
    """What a client does with the plugin of its kubeconfig."""
    command = plugin(path)["exec"]
    assert isinstance(command, dict)
    return subprocess.Popen([command["command"], *command["args"]], stdout=subprocess.PIPE)


def has_open(process: subprocess.Popen[bytes], path: Path) -> bool:
    """Whether the process has the file open."""
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile: those of its own loader, say
            if entry.readlink() == path:
                return True
    return False


def answer(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The credential that a client was given."""
    output, _ = process.communicate(timeout=20)
    credential = json.loads(output)
    assert (credential["apiVersion"], credential["kind"]) == ("client.authentication.k8s.io/v1", "ExecCredential")
    status: dict[str, str] = credential["status"]
    return status


EXPECTED = {"clientCertificateData": "CERTIFICATE", "clientKeyData": "KEY"}


def test_who_asks_early_waits_until_the_gate_opens(pki: Path, readers: list[subprocess.Popen[bytes]]) -> None:
    """Blocked in its read, it gets the credential and the end of the file at the moment of opening."""
    with Gate(pki / "gate") as gate:
        readers.append(ask(pki / "gate"))
        assert wait_until(lambda: has_open(readers[0], pki / "gate"), Deadline(20), interval=0.005)
        assert readers[0].poll() is None
        gate.open(pki, "kcm")
    assert answer(readers[0]) == EXPECTED


def test_who_asks_late_or_again_gets_the_credential_at_once(pki: Path, readers: list[subprocess.Popen[bytes]]) -> None:
    """After opening there is a private file in place of the FIFO, for programs that were slow or were refused once."""
    with Gate(pki / "gate") as gate:
        gate.open(pki, "kcm")
    for _ in range(2):
        readers.append(ask(pki / "gate"))
        assert answer(readers[-1]) == EXPECTED
    assert stat.S_IMODE((pki / "gate").stat().st_mode) == 0o600


def test_a_gate_that_never_opens_lets_go_of_who_waits(pki: Path, readers: list[subprocess.Popen[bytes]]) -> None:
    """A start that fails leaves nobody behind in a read that nothing would end."""
    with Gate(pki / "gate"):
        readers.append(ask(pki / "gate"))
        assert wait_until(lambda: has_open(readers[0], pki / "gate"), Deadline(20), interval=0.005)
    output, _ = readers[0].communicate(timeout=20)
    assert output == b""
