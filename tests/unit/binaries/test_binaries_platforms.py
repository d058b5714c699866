"""Which machine an executable was made for, from real headers."""

import platform
import sys
from pathlib import Path

import pytest

from pytest_kina.binaries.platforms import Platform, current, made_for, refusal
from pytest_kina.errors import BinaryError
from tests.support.release_server import executable

LINUX = Platform("linux", "amd64")
MAC = Platform("darwin", "arm64")

HEADERS = {
    "linux/amd64": executable("x", "amd64"),
    "linux/arm64": executable("x", "arm64"),
    "linux/ELF machine 21": executable("x", "amd64")[:18] + b"\x15\x00" + bytes(80),
    "darwin/amd64": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(80),
    "darwin/arm64": b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01" + bytes(80),
    "darwin/universal": b"\xca\xfe\xba\xbe" + bytes(80),
    "script": b"#!/bin/sh\n",
    None: b"<html>not found</html>",
}


@pytest.mark.parametrize("expected", HEADERS)
def test_header_says_the_platform(tmp_path: Path, expected: str | None) -> None:
    """The platform is read from the ELF or Mach-O header, not from a name."""
    path = tmp_path / "program"
    path.write_bytes(HEADERS[expected])
    assert made_for(path) == expected


def test_own_interpreter_is_made_for_this_platform() -> None:
    """What runs this test is recognised as made for this machine."""
    assert refusal(Path(sys.executable).resolve(), current()) is None


@pytest.mark.parametrize(
    ("header", "wanted", "words"),
    [
        ("linux/arm64", LINUX, "is made for linux/arm64, this machine is linux/amd64"),
        ("darwin/arm64", LINUX, "is made for darwin/arm64"),
        ("linux/amd64", MAC, "is made for linux/amd64, this machine is darwin/arm64"),
        ("darwin/universal", LINUX, "is made for darwin/universal"),
        (None, LINUX, "is not an executable"),
    ],
)
def test_wrong_machine_is_refused(tmp_path: Path, header: str | None, wanted: Platform, words: str) -> None:
    """An executable for another system or processor is refused with both names."""
    path = tmp_path / "program"
    path.write_bytes(HEADERS[header])
    assert words in (refusal(path, wanted) or "")


@pytest.mark.parametrize(
    ("header", "wanted"), [("linux/amd64", LINUX), ("darwin/arm64", MAC), ("darwin/universal", MAC)]
)
def test_right_machine_is_accepted(tmp_path: Path, header: str, wanted: Platform) -> None:
    """An executable for this machine, and a universal one on macOS, are fine."""
    path = tmp_path / "program"
    path.write_bytes(HEADERS[header])
    assert refusal(path, wanted) is None


def test_script_is_a_wrapper_but_no_release(tmp_path: Path) -> None:
    """A script is fine where a user put it, and refused where a release is expected."""
    path = tmp_path / "etcd"
    path.write_bytes(HEADERS["script"])
    assert refusal(path, LINUX) is None
    assert "is a script" in (refusal(path, LINUX, scripts=False) or "")


def test_windows_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the error says that it cannot run and what to do instead."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BinaryError, match=r"does not run on Windows\nNext step: run the tests in WSL 2"):
        current()


def test_unknown_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without known binaries is named, with what is expected."""
    monkeypatch.setattr(platform, "machine", lambda: "mips")
    with pytest.raises(BinaryError, match=r"on mips; expected Linux or macOS on amd64 or arm64"):
        current()
