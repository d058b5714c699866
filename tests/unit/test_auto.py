"""Which provider ``auto`` takes, and what it says about the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina import candidates
from pytest_kina.errors import ProviderUnavailableError, SpecError
from pytest_kina.providers import ProviderInfo, auto
from pytest_kina.providers.auto import Auto
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import FakeProvider

Machine = Callable[..., Auto]


class Tool(FakeProvider):
    """A provider with some capabilities, that may not be able to run."""

    def __init__(self, name: str, capabilities: set[str], problem: str | None) -> None:
        self.asked = 0
        self._info = ProviderInfo(name=name, version="1", capabilities=frozenset(capabilities))
        self._problem = problem

    @property
    def info(self) -> ProviderInfo:
        """As it was made."""
        return self._info

    def unavailable(self) -> str | None:
        """Its problem; counts how often it was asked."""
        self.asked += 1
        return self._problem


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which these tools exist."""

    def make(*tools: Tool) -> Auto:
        there = {tool.info.name: tool for tool in tools}
        monkeypatch.setattr(auto, "names", lambda: list(there))
        monkeypatch.setattr(auto, "absent", lambda _: None)
        monkeypatch.setattr(auto, "find", lambda name, _: there[name])
        return Auto({})

    return make


KINA = {"pods", "images", "multi-node"}
EMBEDDED = {"simulated-nodes", "profiles", "versions"}


def test_the_first_that_can_run_is_taken(machine: Machine) -> None:
    """Kina comes before embedded, embedded before kind; each is asked once, and only as far as needed."""
    kina, embedded, kind = Tool("kina", KINA, None), Tool("embedded", EMBEDDED, None), Tool("kind", KINA, None)
    chooser = machine(kina, embedded, kind)
    assert chooser.choose(ClusterSpec()).taken() == "kina"
    assert chooser.choose(ClusterSpec(simulated_nodes=3)).taken() == "embedded"
    assert chooser.choose(ClusterSpec(simulated_nodes=4)).refused == {"kina": "it has no simulated-nodes"}
    assert (kina.asked, embedded.asked, kind.asked) == (1, 1, 0)


def test_what_cannot_run_says_why(machine: Machine) -> None:
    """The reasons of all candidates before the one that is taken are kept in their order."""
    chooser = machine(Tool("kina", KINA, "the service is stopped"), Tool("embedded", EMBEDDED, None))
    choice = chooser.choose(ClusterSpec())
    assert (choice.name, choice.reasons) == ("embedded", "kina: the service is stopped")
    needy = chooser.choose(ClusterSpec(needs=("pods",)))
    assert needy.name is None
    assert needy.reasons == (
        "kina: the service is stopped; embedded: it has no pods; kind: this version cannot drive it yet; "
        "k3d: this version cannot drive it yet; apple_k8s: this version cannot drive it yet; "
        "minikube: this version cannot drive it yet"
    )
    with pytest.raises(ProviderUnavailableError, match="can make such a cluster:\n  kina: the service is stopped\n"):
        needy.taken()


def test_what_all_that_can_run_refuse_is_wrong_with_the_spec(machine: Machine) -> None:
    """The first of them says what; where none can run at all, nothing is wrong with the spec."""
    spec = ClusterSpec(provider_options=(("colour", "red"),))
    chooser = machine(Tool("kina", KINA, "the service is stopped"), Tool("embedded", EMBEDDED, None))
    with pytest.raises(
        SpecError, match=r"provider has none.*\nOther candidates of auto: kina: the service is stopped; kind"
    ):
        chooser.choose(spec).refuse()
    machine(Tool("kina", KINA, "the service is stopped")).choose(spec).refuse()
    chooser.choose(ClusterSpec()).refuse()


def test_programs_that_are_missing_are_seen_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without its programs a candidate is not even loaded; with them it is likely, and so is who needs none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert candidates.likely() == ["embedded"]
    assert candidates.absent("kina") == "`container` and `kina` are not on PATH"
    (tmp_path / "container").touch(mode=0o755)
    assert candidates.absent("kina") == "`kina` is not on PATH"
    (tmp_path / "kina").touch(mode=0o755)
    assert candidates.likely() == ["kina", "embedded"]


def test_here_it_is_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the real providers, on a machine without any container tool."""
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = Auto({"root": tmp_path}).choose(ClusterSpec())
    assert choice.taken() == "embedded"
    assert dict(choice.refused) == {"kina": "`container` and `kina` are not on PATH"}
