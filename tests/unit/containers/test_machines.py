"""The machines of a cluster: what a later look says of those that were noted, and how their deletion is proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.errors import CommandError, ProviderUnavailableError, ProvisionError
from pytest_kina.files import write_json
from pytest_kina.providers import Place, own_prefix
from pytest_kina.providers.containers import machines
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.apple import Apple, Machine
from pytest_kina.providers.containers.programs import why_absent

NODE = Machine(name="kina-abc-0-1", labels={}, state="running", address="192.168.64.2", started="2026-01-01T00:00:00Z")
WORKER = replace(NODE, name="kina-abc-0-1-worker", address="192.168.64.3")

Find = Callable[[str], list[Machine]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where a cluster lives."""
    return Place(name=NODE.name, directory=tmp_path, slot_lock=tmp_path / "0.lock", tidy=())


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Both machines, as long as a file stands for each."""
    there = tmp_path / "there"
    there.mkdir()
    for machine in (NODE, WORKER):
        (there / machine.name).touch()
    return lambda _: [machine for machine in (NODE, WORKER) if (there / machine.name).exists()]


@pytest.fixture
def apple(tmp_path: Path) -> Apple:
    """A program that notes how it is called, and takes away the file of the machine that it is to delete."""
    program = tmp_path / "container"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nrm -f "{tmp_path}/there/$3"\n')
    program.chmod(0o755)
    return Apple(program)


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """How the program has been called."""
    return lambda: (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"state": "stopped"}, "its node kina-abc-0-1-worker is stopped"),
        (
            {"address": "192.168.64.9"},
            "its node kina-abc-0-1-worker was restarted (192.168.64.3 since 2026-01-01T00:00:00Z; now 192.168.64.9)",
        ),
        (
            {"started": "later"},
            "its node kina-abc-0-1-worker was restarted (192.168.64.3 since 2026-01-01T00:00:00Z; now 192.168.64.3)",
        ),
        ({"name": "kina-abc-0-2"}, "its node kina-abc-0-1-worker is gone"),
    ],
)
def test_machines_must_be_those_that_were_noted(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: Mapping[str, str], said: str | None
) -> None:
    """One that stopped, came back elsewhere or later, or went away makes the cluster unfit, although the server answers."""
    monkeypatch.setattr(Access, "unready", lambda _: None)
    machines.note(place, [NODE, WORKER])
    assert machines.check(place, lambda _: [NODE, replace(WORKER, **change)]) == said


def test_the_same_machines_are_not_enough(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the API server says of itself counts, too."""
    monkeypatch.setattr(Access, "unready", lambda _: "/readyz says no")
    machines.note(place, [NODE])
    assert machines.check(place, lambda _: [NODE]) == "/readyz says no"


def test_an_unfinished_creation_is_unfit(place: Place, find: Find) -> None:
    """Nothing was noted, so nobody looks further."""
    assert machines.check(place, find) == "its creation was not finished"


def test_a_service_that_does_not_answer_is_a_sentence(place: Place) -> None:
    """Who cannot be asked is unfit; a check does not raise for it."""

    def silent(_: str) -> list[Machine]:
        raise CommandError("no answer")

    machines.note(place, [NODE])
    assert machines.check(place, silent) == "it cannot be asked: no answer"


def test_what_is_absent_is_deleted_already(place: Place, apple: Apple, calls: Callable[[], list[str]]) -> None:
    """Neither the tool nor force is used."""
    machines.delete(place, apple, lambda _: [], lambda: pytest.fail("the tool was run"))
    assert calls() == []


def test_force_is_for_what_the_tool_leaves(
    place: Place, apple: Apple, find: Find, calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    """A tool that deletes one machine of two, and says nothing, is helped with the other."""

    def kindly() -> str:
        (tmp_path / "there" / NODE.name).unlink()
        return ""

    machines.delete(place, apple, find, kindly)
    assert calls() == [f"delete --force {WORKER.name}"]
    assert find(place.name) == []


def test_a_tool_that_deletes_all_needs_no_force(
    place: Place, apple: Apple, calls: Callable[[], list[str]], tmp_path: Path, find: Find
) -> None:
    """Its word is not asked for: nothing is there any more."""

    def kindly() -> str:
        for path in (tmp_path / "there").iterdir():
            path.unlink()
        return "error: nothing was deleted"

    machines.delete(place, apple, find, kindly)
    assert calls() == []


def test_what_stays_is_an_error_with_the_last_words_of_the_tool(place: Place, apple: Apple, tmp_path: Path) -> None:
    """It names the machines, their states, and what to type."""
    with pytest.raises(ProvisionError) as caught:
        machines.delete(place, apple, lambda _: [NODE, replace(WORKER, state="stopping")], lambda: "kina: no")
    assert caught.value.message == (
        f"cluster {place.name} could not be deleted; still there: kina-abc-0-1 (running), "
        "kina-abc-0-1-worker (stopping)\nkina: no"
    )
    assert caught.value.next_step == "container delete --force kina-abc-0-1 kina-abc-0-1-worker"


def test_names_of_a_pool_begin_with_its_id(tmp_path: Path) -> None:
    """Only once the pool has a name: without one, every cluster would look like its own."""
    assert own_prefix(tmp_path / "clusters") == ""
    write_json(tmp_path / "pool.json", 7, {"id": "0a1b2c"})
    assert own_prefix(tmp_path / "clusters") == "kina-0a1b2c-"


def test_why_a_provider_is_absent() -> None:
    """The error and its next step, on one line; nothing when all is there."""

    def fail(next_step: str | None) -> object:
        raise ProviderUnavailableError("no kind", next_step=next_step)

    assert why_absent(lambda: fail("install kind")) == "no kind: install kind"
    assert why_absent(lambda: fail(None)) == "no kind"
    assert why_absent(lambda: "there") is None
