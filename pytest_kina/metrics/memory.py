"""How much memory a kind of cluster took when it was last measured."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_kina.metrics import samples
from pytest_kina.metrics.samples import Metric
from pytest_kina.spec import ClusterSpec

_RUNS = 20
"""How many runs are looked at, the latest first."""


def recorded(runs: Path, provider: str, spec: ClusterSpec) -> int | None:
    """The most (PSS, bytes) that a cluster of ``spec`` took in the latest run that measured one; None: none has.

    ``runs`` is the root's directory of runs.
    """
    wanted = json.loads(json.dumps(spec.to_json()))  # as a file has it
    folders = {folder: _changed(folder) for folder in runs.glob("*/metrics")}
    for folder in sorted(folders, key=lambda folder: -folders[folder])[:_RUNS]:
        found = [_share(one) for one in samples.read(folder.parent) if (one.provider, one.spec) == (provider, wanted)]
        if most := max(found, default=0):
            return most
    return None


def _share(one: Metric) -> int:
    return int(one.usage.get("pss") or 0)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # its run is removed right now
        return 0.0
