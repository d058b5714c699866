"""The audit of CI: what it says and returns for each outcome of the three tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit.py"
CLEAN = {"name": "filelock", "version": "4.2", "vulns": []}
HOLED = {"name": "urllib3", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
SKIPPED = {"name": "idna", "skip_reason": "not found"}
OURS = {"name": "pytest-kina", "skip_reason": "editable"}


def audit(tmp_path: Path, answer: object, *arguments: str, codes: dict[str, int] | None = None) -> tuple[int, str]:
    """Exit code and output of the script, run by a Python that has such tools beside it; pip-audit prints ``answer``."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    for name in ("bandit", "zizmor", "pip-audit"):
        printed = answer if isinstance(answer, str) else json.dumps(answer)
        (tmp_path / f"{name}.txt").write_text(printed if name == "pip-audit" else "")
        (tmp_path / name).write_text(f"#!/bin/sh\ncat {tmp_path}/{name}.txt\nexit {(codes or {}).get(name, 0)}\n")
        (tmp_path / name).chmod(0o755)
    argv = [python, AUDIT, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    return done.returncode, done.stdout


def packages(*found: dict[str, Any]) -> dict[str, Any]:
    """What pip-audit prints."""
    return {"dependencies": found}


def test_a_clean_bill_needs_an_answer_about_every_package(tmp_path: Path) -> None:
    """Our own package is no package of the index."""
    code, said = audit(tmp_path, packages(CLEAN, OURS), "--require-advisories")
    assert (code, "no known hole in 1 of 2 packages" in said, "NOT AUDITED" in said) == (0, True, False)


def test_a_known_hole_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    """Package, version, advisory, and the version that mends it."""
    code, said = audit(tmp_path, packages(CLEAN, HOLED))
    assert (code, "urllib3 1.0: CVE-1, fixed in 1.1" in said) == (1, True)


@pytest.mark.parametrize("answer", [packages(CLEAN, SKIPPED), "", "{}", "Traceback"])
@pytest.mark.parametrize("required", [False, True])
def test_an_index_without_advisories_is_said_aloud(tmp_path: Path, answer: object, required: bool) -> None:
    """pip-audit would call that a success; it is an error where an answer is required."""
    code, said = audit(tmp_path, answer, *["--require-advisories"] * required)
    assert (code, "NOT AUDITED FOR KNOWN HOLES" in said) == (int(required), True)


@pytest.mark.parametrize("tool", ["bandit", "zizmor"])
def test_a_finding_of_a_tool_is_an_error(tmp_path: Path, tool: str) -> None:
    """And the others run all the same."""
    code, said = audit(tmp_path, packages(CLEAN), codes={tool: 1})
    assert (code, "no known hole" in said) == (1, True)
