"""The whole exploration, minutes long: ``python tests/model/full.py`` prints one line per case, and exits 1 on a find."""

from __future__ import annotations

import sys
import time

from cases import FULL
from exploration import explore
from lock_file_model import explore_lock_file
from pool_model import Model


def main() -> int:
    """Explore all cases; returns the exit code."""
    found = 0
    for name, (roles, limits) in FULL.items():
        began = time.monotonic()
        outcome = explore(Model(roles, **limits))
        found += outcome.wrong is not None
        print(
            f"{name}: {outcome.worlds:,} worlds, {time.monotonic() - began:.0f} s: {outcome.wrong or 'nothing wrong'}"
        )
        print("".join(f"    {step}\n" for step in outcome.story), end="", flush=True)
    worlds, story = explore_lock_file()
    print(f"removable lock files: {worlds:,} worlds: {'two holders' if story else 'nothing wrong'}")
    return 1 if found or story else 0


if __name__ == "__main__":
    sys.exit(main())
