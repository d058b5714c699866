"""Machines where something is wrong with the tools themselves: what is said, and that nothing hangs or stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.errors import ProvisionError
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.providers.containers import apple, engine, engine_provider
from pytest_kina.providers.kina import tools
from pytest_kina.spec import ClusterSpec
from tests.contract.conftest import User

NewUser = Callable[..., User]
TOOL = {"kina": "kina", "apple_k8s": "container", "kind": "kind", "k3d": "k3d"}
ALL = tuple(TOOL)


@pytest.fixture
def user(new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user with all tools, and a root of its own."""
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "root"))
    return new_user(container="1.2.2")


def replaced(user: User, tool: str, script: str, folder: str = "") -> Path:
    """Another program under the tool's name, in place of it or in a directory of its own."""
    path = (user.host.directory / folder if folder else user.host.bin) / tool
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("provider", ALL)
def test_a_tool_for_another_processor_is_told_in_one_line(user: User, provider: str) -> None:
    """As the system says it, with the path of the program."""
    path = user.host.bin / TOOL[provider]
    path.write_bytes(b"\x7fELF" + bytes(60))
    why = find(provider).unavailable()
    assert why is not None
    assert f"{path} does not run: " in why
    assert "Exec format error" in why
    assert "\n" not in why


@pytest.mark.parametrize("provider", ALL)
def test_a_tool_that_hangs_is_given_up(user: User, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """At our own time-out, with all that it started."""
    for module in (apple, engine, engine_provider, tools):
        monkeypatch.setattr(module, "_LOOK_SECONDS", 0.5)
    began = user.host.directory / "began"
    replaced(user, TOOL[provider], f"echo $$ > {began}; sleep 600 & sleep 600")
    why = find(provider).unavailable()
    assert why is not None
    assert "did not finish within 0.5 s" in why
    assert not Path("/proc", began.read_text().strip()).exists()


@pytest.mark.parametrize("provider", ["kind", "k3d"])
def test_a_hanging_creation_ends_with_its_time(user: User, provider: str) -> None:
    """The tool is killed, and what it had made is deleted."""
    command = {"kind": "kubeadm init", "k3d": "k3d cluster create"}[provider]
    user.host.inject(**{command: {"seconds": 60}})
    place, began = user.place(), time.monotonic()
    with pytest.raises(ProvisionError, match="did not finish within"):
        user.create(place, provider, timeout=2)
    assert time.monotonic() - began < 30, "it did not wait for the tool"
    user.host.heal()
    find(provider).delete(place)
    assert user.host.machines() == {}


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("kina", r'{"version": "\\u001b[1m0.2.1\\u001b[0m"}'),
        ("kind", r"\0033[32mkind \0033[1mv0.31.0\0033[0m go1.25"),
        ("k3d", r"\0033[32mk3d version \0033[1mv5.8.3\0033[0m"),
    ],
)
def test_coloured_versions_are_read(user: User, provider: str, said: str) -> None:
    """Not every tool asks whether it talks to a terminal."""
    replaced(user, TOOL[provider], f"printf '%b' '{said}'")
    assert find(provider).unavailable() is None


@pytest.mark.parametrize("provider", ["kina", "kind", "k3d"])
def test_tools_speak_one_language(user: User, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """Whatever the user's is, it is not passed on."""
    for name in ("LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    words = {"kina": '{"version": "0.2.1"}', "kind": "kind v0.31.0", "k3d": "k3d version v5.8.3"}[provider]
    replaced(user, TOOL[provider], f"test \"$LC_ALL$LC_MESSAGES$LANGUAGE\" = C && echo '{words}' || echo 'Fassung elf'")
    assert find(provider).unavailable() is None


def test_the_newer_of_two_kinas_is_used(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before it on PATH is too old; that alone would be told, with both when neither can serve."""
    old = replaced(user, "kina", 'echo \'{"version": "0.1.9"}\'', "old")
    monkeypatch.setenv("PATH", f"{old.parent}:{user.host.environment()['PATH']}")
    assert find("kina").unavailable() is None
    place = user.place()
    user.create(place)
    assert {call["tool"] for call in user.host.calls("kina")} == {"kina"}
    find("kina").delete(place)
    second = replaced(user, "kina", "exit 1")
    why = find("kina").unavailable() or ""
    assert f"{old} is 0.1.9; 0.2.0 is the oldest" in why
    assert f"{second} is another program of that name" in why


@pytest.mark.parametrize("provider", ALL)
def test_a_full_disk_while_pulling_is_told(user: User, provider: str) -> None:
    """In the words of the engine; the next preparation tries again."""
    command = "docker pull" if provider in ("kind", "k3d") else "image pull"
    user.host.inject(**{command: {"text": "write /var/lib/x: no space left on device", "times": 1}})
    with pytest.raises(ProvisionError, match=r"could not pull .*no space left on device"):
        find(provider).prepare(ClusterSpec(), silent)
    assert find(provider).prepare(ClusterSpec(), silent)["kubernetes"] == "v1.36.1"
