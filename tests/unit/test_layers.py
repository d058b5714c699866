"""What the documents say about the layers is what import-linter checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTEST_MODULES = "Only `plugin`, `plugin_*`, `fixtures` and `hookspecs` may import pytest, pluggy or xdist."


def contract(name: str) -> dict[str, Any]:
    """The import-linter contract whose name begins like this."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found: dict[str, Any] = next(each for each in contracts if each["name"].startswith(name))
    return found


def test_documented_layers_are_those_of_the_contract() -> None:
    """Line by line, apart from remarks in brackets."""
    section = (ROOT / "docs" / "architecture.md").read_text().partition("## Layers")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ")]
    assert [re.sub(r"\s*\([^)]*\)", "", line).strip() for line in lines] == contract("layers")["layers"]


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_documents_name_the_modules_that_may_import_pytest(name: str) -> None:
    """Both have the same sentence."""
    assert PYTEST_MODULES in " ".join((ROOT / name).read_text().split())


def test_no_other_module_imports_pytest() -> None:
    """The sentence is true of every module, function bodies included."""
    importing = {
        path.relative_to(ROOT / "pytest_kina").parts[0].removesuffix(".py")
        for path in (ROOT / "pytest_kina").rglob("*.py")
        if re.search(r"^\s*(import|from) (pytest|_pytest|pluggy|xdist)\b", path.read_text(), re.MULTILINE)
    }
    assert all(re.fullmatch(r"plugin(_\w+)?|fixtures|hookspecs", name) for name in importing)
