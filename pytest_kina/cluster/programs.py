"""Programs of the user that are run for a cluster."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def find(name: str) -> Path | None:
    """The program in ``KINA_ASSETS`` (directories), else on ``PATH``; None when it is in neither."""
    assets = os.environ.get("KINA_ASSETS")
    given = shutil.which(name, path=assets) if assets else None
    found = given or shutil.which(name)
    return Path(found).absolute() if found else None
