"""A copy of the repository in which a benchmark may change the code, and the tests that run there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def copy_repository(place: Path) -> Path:
    """Copy the working tree, without what tools have left in it, to ``place/repository``."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
    return shutil.copytree(REPOSITORY, place / "repository", ignore=ignored)


def environment_of(copy: Path) -> dict[str, str]:
    """An environment in which Python, also that of the tests' children, imports from ``copy``."""
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(copy.parent)}
