"""The ends of log files, read from the end: a log may be large, and its component may still be writing."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST_LINE = 400


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines of a file, without the final line break; empty when there is no such file."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - lines * _LONGEST_LINE))
            content = stream.read()
    except OSError:
        return ""
    return "\n".join(content.decode(errors="replace").splitlines()[-lines:]) if lines > 0 else ""
