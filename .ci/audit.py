"""Look for known holes: bandit in our code, zizmor in the workflows, pip-audit in what is installed here.

``python .ci/audit.py [--require-advisories]``, with the environment that has the extra ``audit``. Exit code 1 when a
tool finds something. pip-audit asks the package index for advisories and exits with 0 when it gets none, so an index
without them would look like a clean bill: here that is said aloud, and is an error with ``--require-advisories``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_BIN = Path(sys.executable).parent
_ROOT = Path(__file__).parents[1]
_OURS = "pytest-kina"
_BANNER = "!" * 100


def main(arguments: list[str]) -> int:
    """Run all three, also when one finds something; 1 when any did."""
    bandit = [_BIN / "bandit", "--quiet", "--recursive", "--configfile", "pyproject.toml", "pytest_kina", ".ci"]
    zizmor = [_BIN / "zizmor", "--offline", "--quiet", ".github"]
    found = [_run(bandit), _run(zizmor), _advisories(required="--require-advisories" in arguments)]
    return int(any(found))


def _run(argv: list[str | Path]) -> bool:
    _say(f"-- {Path(argv[0]).name}")
    return subprocess.run(argv, cwd=_ROOT, check=False).returncode != 0


def _advisories(*, required: bool) -> bool:
    _say("-- pip-audit")
    argv = [_BIN / "pip-audit", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(argv, cwd=_ROOT, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return _unanswered(f"pip-audit exited with {done.returncode}:\n{done.stderr.strip()}", required=required)
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in packages
        for hole in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in packages if "skip_reason" in each and each["name"] != _OURS]
    answered = sum("skip_reason" not in each for each in packages)
    _say("\n".join(holes) or f"no known hole in {answered} of {len(packages)} packages")
    unanswered = bool(skipped) and _unanswered(f"no answer about {', '.join(skipped)}", required=required)
    return bool(holes) or unanswered


def _unanswered(problem: str, *, required: bool) -> bool:
    why = "the package index that is reachable from here does not tell about advisories"
    _say(f"{_BANNER}\nNOT AUDITED FOR KNOWN HOLES: {why}\n{problem}\n{_BANNER}")
    return required


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
