"""A made-up later version of the plugin: a copy of the package with another number, and schemas that ours does not know."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest_kina

VERSION = "99.0"
SCHEMA = 2

_SCHEMAS = re.compile(r"^( *_?SCHEMA(?:: ClassVar\[int\])? = )1$", re.MULTILINE)

# Records in a form of their own, which the older version would take for torn if it took them for its own at all.
_FORMS = {
    '"state": self.state.value,': '"state": {"is": self.state.value},',
    'State(known["state"])': 'State(known["state"]["is"] if isinstance(known["state"], dict) else known["state"])',
}


def make_newer(place: Path) -> Mapping[str, str]:
    """Write that version below ``place``; the environment in which Python finds it instead of ours.

    It reads what we write. The name of the pool is the one document that both versions must be able to read.
    """
    ours = Path(pytest_kina.__file__).parent
    package = shutil.copytree(ours, place / "pytest_kina", ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path != package / "pool" / "root.py":
            text = _SCHEMAS.sub(rf"\g<1>{SCHEMA}", text)
        path.write_text(text, encoding="utf-8")
    _replace(package / "__init__.py", {f'__version__ = "{pytest_kina.__version__}"': f'__version__ = "{VERSION}"'})
    _replace(package / "pool" / "records.py", _FORMS)
    _replace(package / "testing" / "fake.py", {'version="1.0"': 'version="2.0"'})
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join((str(place), *([others] if others else [])))}


def _replace(path: Path, changes: Mapping[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for before, after in changes.items():
        assert text.count(before) == 1, f"{path.name} has changed: {before!r} is not in it"
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
