"""What this process tried again because the first time had a passing cause, for the end of the run to tell.

Nothing is retried without a word: a run that needed luck should not look like one that did not.
"""

from __future__ import annotations

import logging
import threading

_log = logging.getLogger(__name__)
_guard = threading.Lock()
_noted: list[str] = []


def note(sentence: str) -> None:
    """Note that something is tried again; ``sentence`` says what, and why."""
    _log.warning("%s", sentence)
    with _guard:
        _noted.append(sentence)


def drain() -> list[str]:
    """What was noted since the last call, oldest first."""
    with _guard:
        found, _noted[:] = list(_noted), []
    return found
