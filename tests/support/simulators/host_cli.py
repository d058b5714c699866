"""What happens to machines without anybody's asking, for the tests: ``reboot NAME``."""

from __future__ import annotations

from collections.abc import Sequence

import control_plane
from state import CHANGED_HOST, State, say


def run(state: State, arguments: Sequence[str]) -> int:
    """Restart a machine; prints its new address."""
    _, name = arguments
    control_plane.end(state, name, keep=True)
    say(control_plane.reboot(state, name, CHANGED_HOST))
    return 0
