"""One measurement of a cluster or of a plugin process, and the files that carry them to the controller.

Each process appends to ``runs/<run>/metrics/<xdist worker>.jsonl``. Unlike timings they travel in this one way: they
are missing for an xdist worker on another host, and a torn last line is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from pytest_kina.files import append_line

SCHEMA = 1
READY, RELEASE = "ready", "release"
Kind = Literal["cluster", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What was measured of ``name``: a cluster (``when`` it was ready or released), or a process (an xdist worker).

    Memory and disk in bytes, times in seconds; ``usage`` as of :class:`~pytest_kina.metrics.usage.Usage`. ``growth``
    is a process's memory beyond that when the plugin was loaded. ``requests`` are the latencies seen through our
    client, ``probe`` those of the probe. ``objects`` counts by resource. ``spec`` is the cluster's spec.
    """

    kind: Kind
    name: str
    when: str
    worker: str
    usage: Mapping[str, Any] = field(default_factory=dict)
    growth: int = 0
    disk: int = 0
    seconds: float = 0.0
    requests: tuple[float, ...] = ()
    probe: tuple[float, ...] = ()
    objects: Mapping[str, int] = field(default_factory=dict)
    provider: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The measurement as plain JSON types, with its ``schema``."""
        return {"schema": SCHEMA, **asdict(self), "requests": list(self.requests), "probe": list(self.probe)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` wrote; unknown keys are ignored. Raises :class:`ValueError` for anything else."""
        try:
            if document["schema"] > SCHEMA or document["kind"] not in ("cluster", "process"):
                raise ValueError(f"not a measurement of schema {SCHEMA}: {document!r}")
            known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
            latencies = {name: tuple(map(float, known.get(name, ()))) for name in ("requests", "probe")}
            return cls(**(known | latencies))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a measurement: {error!r}") from error


def write(run: Path, metric: Metric) -> None:
    """Append to the file of the metric's worker, in the directory of the run. Raises :class:`OSError`."""
    folder = run / "metrics"
    folder.mkdir(mode=0o700, exist_ok=True)
    append_line(folder / f"{metric.worker}.jsonl", json.dumps(metric.to_json()))


def read(run: Path) -> list[Metric]:
    """All measurements of a run, worker by worker, oldest first; lines that are none are skipped."""
    paths = sorted((run / "metrics").glob("*.jsonl"))
    lines = (line for path in paths for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return parsed([_json(line) for line in lines])


def parsed(documents: object) -> list[Metric]:
    """The measurements in a list of JSON documents; what is none is left out."""
    found = []
    for document in documents if isinstance(documents, list) else []:
        with suppress(ValueError):
            found.append(Metric.from_json(document))
    return found


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
