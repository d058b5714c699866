"""The pool's protocol, explored: no reachable world is wrong, and every deliberate mistake is found."""

from __future__ import annotations

import pytest

from tests.model.cases import LOCK_FILE_MISTAKES, MISTAKES, QUICK
from tests.model.exploration import explore
from tests.model.lock_file_model import explore_lock_file
from tests.model.pool_model import Model


@pytest.mark.parametrize("name", QUICK)
def test_no_reachable_world_is_wrong_or_a_dead_end(name: str) -> None:
    """With kills, stops and breakages at any step, every invariant holds and everybody can still be served."""
    roles, limits = QUICK[name]
    outcome = explore(Model(roles, **limits))
    assert outcome.wrong is None, "\n".join([outcome.wrong or "", *outcome.story])
    assert outcome.worlds > 1000, "the exploration hardly began"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_deliberate_mistake_is_found(mistake: str) -> None:
    """A protocol with one rule broken leads to a wrong world, and to the kind of harm that the rule prevents."""
    (roles, limits), harm = MISTAKES[mistake]
    outcome = explore(Model(roles, **limits, mistake=mistake))
    assert harm in (outcome.wrong or "nothing"), outcome.story


def test_removable_lock_files_never_have_two_holders() -> None:
    """Unlinking a lock file while holding it, as the last act, is safe with three processes and a kill."""
    worlds, story = explore_lock_file()
    assert story == []
    assert worlds > 1000


@pytest.mark.parametrize("mistake", LOCK_FILE_MISTAKES)
def test_each_mistake_with_lock_files_is_found(mistake: str) -> None:
    """Any other way to remove a lock file, or to open one, leads to two holders."""
    _, story = explore_lock_file(mistake)
    assert story, mistake
