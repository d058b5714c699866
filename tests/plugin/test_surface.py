"""The public surface equals the one checked-in list, so that it changes only on purpose."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

import pytest_kina
from pytest_kina import hookspecs, testing
from pytest_kina.cli import parser
from pytest_kina.marks import MARK_KEYS
from pytest_kina.options import OPTIONS
from pytest_kina.settings import SPEC_KEYS, read_project

SURFACE = Path(__file__).parents[2] / "docs" / "surface.txt"


def listed() -> dict[str, list[str]]:
    """The checked-in list by section."""
    sections: dict[str, list[str]] = {}
    for line in SURFACE.read_text().splitlines():
        if heading := re.fullmatch(r"\[(.*)\]", line):
            names = sections.setdefault(heading[1], [])
        elif line and not line.startswith("#"):
            names.append(line)
    return {heading: sorted(names) for heading, names in sections.items()}  # merging two branches may mix up lines


def test_package_exports_what_is_listed() -> None:
    """``__all__`` is the list, and every name in it can be had."""
    assert sorted(pytest_kina.__all__) == listed()["package"]
    assert all(getattr(pytest_kina, name) for name in pytest_kina.__all__)


def test_testing_exports_what_is_listed() -> None:
    """What authors of providers and of tools over them may import."""
    assert sorted(testing.__all__) == listed()["testing"]
    assert all(getattr(testing, name) for name in testing.__all__)


def test_marks_and_fixtures_are_what_is_listed(pytester: pytest.Pytester) -> None:
    """What pytest itself shows of our marks and fixtures is the list."""
    marks = "\n".join(pytester.runpytest("--markers", "-p", "no:randomly").outlines)
    assert re.findall(r"@pytest\.mark\.(kina_\w+)", marks) == listed()["marks"]
    keys = re.search(r"kina_cluster\(name=None, \*, ([\w, ]+)\)", marks)
    assert keys is not None
    assert sorted(keys[1].split(", ")) == sorted(MARK_KEYS) == listed()["mark keys"]
    fixtures = "\n".join(pytester.runpytest("--fixtures", "-v", "-p", "no:randomly").outlines)
    assert sorted(re.findall(r"^(kina_\w+)", fixtures, re.MULTILINE)) == listed()["fixtures"]


def test_options_are_what_is_listed(pytester: pytest.Pytester) -> None:
    """Flags and keys in the help text, and the table they come from, are the list."""
    shown = "\n".join(pytester.runpytest("--help", "-p", "no:randomly").outlines)
    assert sorted(set(re.findall(r"^  (--kina-[\w-]+)", shown, re.MULTILINE))) == listed()["flags"]
    keys = sorted(set(re.findall(r"^  (kina_\w+) \(string\)", shown, re.MULTILINE)))
    assert keys == listed()["keys of pytest's configuration"]
    assert sorted(option.variable for option in OPTIONS if not option.flag_only) == listed()["environment"]


def test_every_listed_key_of_the_project_is_accepted(tmp_path: Path) -> None:
    """``[tool.kina]`` takes exactly the listed keys."""
    keys = listed()["keys of tool.kina"]
    lines = "\n".join(f'{key} = "x"' for key in keys if key not in ("clusters", "alerts"))
    (tmp_path / "pyproject.toml").write_text(f"[tool.kina]\n{lines}\n[tool.kina.clusters]\n[[tool.kina.alerts]]\n")
    read = read_project(tmp_path)
    assert sorted([*read.options, *read.spec, "clusters", "alerts"]) == keys
    assert set(SPEC_KEYS) <= set(keys)


def test_hooks_and_entry_points_are_what_is_listed() -> None:
    """Hook names and entry points are the list."""
    hooks = [name for name in vars(hookspecs) if name.startswith("pytest_")]
    assert sorted(hooks) == listed()["hooks"]
    points = [f"{point.group}: {point.name} = {point.value}" for point in distribution("pytest-kina").entry_points]
    assert sorted(points) == sorted(listed()["entry points"])


def test_commands_are_what_is_listed() -> None:
    """What ``pytest-kina --help`` offers."""
    assert sorted(re.findall(r"^    ([a-z]+)\b", parser().format_help(), re.MULTILINE)) == listed()["commands"]
