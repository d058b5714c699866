"""The page of guarantees names tests that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from benchmarks.hazards import HAZARDS, SCOPE
from tests.model.cases import LOCK_FILE_MISTAKES, MISTAKES

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "guarantees.md").read_text(encoding="utf-8")
LINKS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), LINKS, ids=[name for _, name in LINKS])
def test_a_linked_test_exists(path: str, name: str) -> None:
    """Whoever follows a link from a promise finds the test that proves it."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_and_every_fault_has_a_test() -> None:
    """Six promises, each with tests; 25 faults, each with tests; and every path that is named leads somewhere."""
    promises = re.split(r"^\d\. \*\*", PAGE.partition("## Six promises")[2].partition("\n## ")[0], flags=re.MULTILINE)[
        1:
    ]
    assert len(promises) == 6
    assert all("::" in promise for promise in promises)
    rows = [line for line in PAGE.partition("## Faults by number")[2].splitlines() if re.match(r"\| [\d, ]+ \|", line)]
    assert [int(number) for row in rows for number in re.findall(r"\d+", row.split("|")[1])] == list(range(1, 26))
    assert all("::" in row or "the same" in row for row in rows)
    named = re.findall(r"`((?:tests|benchmarks|docs)/[\w/.]+)", PAGE)
    assert all((REPOSITORY / path).exists() for path in named)
    modules = re.findall(r"python -m (benchmarks\.\w+)", PAGE)
    assert all((REPOSITORY / f"{module.replace('.', '/')}.py").exists() for module in modules)


@pytest.mark.parametrize("page", ["guarantees", "pool"])
def test_the_pages_count_the_mistakes_of_the_model(page: str) -> None:
    """A mistake that is added to the model, or taken out, is counted where people read of it."""
    text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) deliberate mistakes", text) == [str(len(MISTAKES) + len(LOCK_FILE_MISTAKES))]


@pytest.mark.parametrize("hazard", HAZARDS)
def test_every_hazard_has_tests(hazard: str) -> None:
    """The table of hazards counts by names; a name that is changed does not leave a hazard without tests unnoticed."""
    paths = [path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests").rglob("test_*.py")]
    inside = [path for path in paths if re.match(SCOPE, path)]
    names = [f"{path}::{name}" for path in inside for name in names_in(path)]
    assert any(re.search(HAZARDS[hazard], name) for name in names)


@functools.cache
def names_in(path: str) -> list[str]:
    """The names of the tests in a module."""
    return re.findall(r"^def (test_\w+)", (REPOSITORY / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
