"""The tools' own modules, which import each other as scripts do, for use by the tests' process."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = str(Path(__file__).parent)
sys.path.insert(0, _HERE)
try:
    import control_plane
    import image_files
    from state import State
finally:
    sys.path.remove(_HERE)

__all__ = ["State", "control_plane", "image_files"]
