"""How our own errors look in a report: the line of the test that met it, then the message.

A :class:`~pytest_kina.errors.KinaError` says what was tried and what to do next; the way through our frames, and the
exception of a library that it was made from, would only bury that. ``--full-trace`` and ``--tb=native`` show all.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.errors import KinaError

_OURS = Path(__file__).parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
_AS_IT_IS = ("no", "native", "line")


def shortened(call: pytest.CallInfo[Any], config: pytest.Config) -> Any:
    """What ``TestReport.longrepr`` should be for a :class:`KinaError` of ours; None to leave pytest's own."""
    style = config.getoption("tbstyle", "auto")
    excinfo = call.excinfo
    if excinfo is None or not isinstance(excinfo.value, KinaError):
        return None
    if config.getoption("fulltrace", False) or style in _AS_IT_IS or not _within(excinfo.traceback[-1], (_OURS,)):
        return None
    users = [entry for entry in excinfo.traceback if not _within(entry, (_OURS, *_LIBRARIES))]
    if not users:
        return None if call.when == "call" else excinfo.getrepr(style="value", chain=False)
    return excinfo.getrepr(
        style="long" if style == "auto" else style,
        showlocals=config.getoption("showlocals", False),
        funcargs=True,
        tbfilter=lambda found: type(found.traceback)(users),
        chain=False,
    )


def _within(entry: Any, places: tuple[Path, ...]) -> bool:
    return any(Path(entry.path).is_relative_to(place) for place in places)
