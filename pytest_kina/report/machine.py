"""Which machine and which commit a measurement was made on, in the shape of pytest-benchmark."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from pytest_kina.errors import CommandError
from pytest_kina.process import run_command

_GIT_SECONDS = 5.0
_CPUINFO = Path("/proc/cpuinfo")


def machine_info() -> dict[str, Any]:
    """pytest-benchmark's ``machine_info``: the same keys, with the part of ``cpu`` that is known everywhere."""
    return {
        "node": platform.node(),
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_compiler": platform.python_compiler(),
        "python_implementation": platform.python_implementation(),
        "python_implementation_version": platform.python_version(),
        "python_version": platform.python_version(),
        "python_build": list(platform.python_build()),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": _cpu(),
    }


def memory_bytes() -> int:
    """The machine's main memory in bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def commit_info(directory: Path) -> dict[str, Any]:
    """pytest-benchmark's ``commit_info`` of the git checkout around ``directory``.

    Without a checkout, or without git, the id is ``unversioned`` and ``error`` says why.
    """
    known: dict[str, Any] = {"id": "unversioned", "time": None, "author_time": None, "dirty": False}
    project = {"project": directory.resolve().name, "branch": "(unknown)"}
    try:
        commit, time, author_time = _git(directory, "show", "-s", "--format=%H%n%cI%n%aI").split("\n")
        branch = _git(directory, "rev-parse", "--abbrev-ref", "HEAD")
        dirty = bool(_git(directory, "status", "--porcelain", "--untracked-files=no"))
    except (CommandError, ValueError) as error:
        return known | project | {"error": str(error)}
    known = {"id": commit, "time": time, "author_time": author_time, "dirty": dirty}
    return known | project | {"branch": "(detached head)" if branch == "HEAD" else branch}


def _git(directory: Path, *arguments: str) -> str:
    return run_command(["git", "-C", directory, *arguments], timeout=_GIT_SECONDS).stdout.strip()


def _cpu() -> dict[str, Any]:
    return {
        "arch_string_raw": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "brand_raw": _brand(),
        "count": os.cpu_count(),
        "python_version": platform.python_version(),
    }


def _brand() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
