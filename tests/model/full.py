"""The whole exploration, minutes long: ``python -m tests.model.full`` prints one line per case, and exits 1 on a find."""

from __future__ import annotations

import sys
import time

from tests.model.cases import FULL
from tests.model.exploration import explore
from tests.model.lock_file_model import explore_lock_file
from tests.model.pool_model import Model


def main() -> int:
    """Explore all cases; returns the exit code."""
    found = 0
    for name, (roles, limits) in FULL.items():
        began = time.monotonic()
        outcome = explore(Model(roles, **limits))
        found += outcome.wrong is not None
        _say(f"{name}: {outcome.worlds:,} worlds, {time.monotonic() - began:.0f} s: {outcome.wrong or 'nothing wrong'}")
        for step in outcome.story:
            _say(f"    {step}")
    worlds, story = explore_lock_file()
    _say(f"removable lock files: {worlds:,} worlds: {'two holders' if story else 'nothing wrong'}")
    return 1 if found or story else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program for people


if __name__ == "__main__":
    sys.exit(main())
