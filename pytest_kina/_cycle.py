"""One create → ready → delete cycle of a project's default cluster, as a process of its own.

``pytest-kina ab`` runs this file by its path, with one of two checkouts as working directory and, if that checkout
has a ``pytest_kina``, in front of the import path. It prints the timings document of the cycle as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def cycle(directory: Path) -> dict[str, object]:
    """The document of a cycle of the default cluster of ``directory``. Raises what leasing a cluster raises."""
    from pytest_kina.marks import Defaults, requests
    from pytest_kina.report.benchmark_json import document
    from pytest_kina.report.runs import spooled
    from pytest_kina.report.summary import RunTimings
    from pytest_kina.run import Run
    from pytest_kina.settings import for_command

    settings = for_command({"ttl": "0"}, directory)
    project = settings.project
    defaults = Defaults(spec=project.spec, named=project.clusters, base=project.directory)
    (request,) = requests([((), {"isolation": "fresh"})], defaults, test=f"cycle {os.getpid()}", module="")
    run = Run(settings, worker="cycle")
    try:
        run.prepare(request.specs)
        run.lease(request, note="an A/B cycle").give_back()
        run.retire()
    finally:
        run.close()
    return document(RunTimings(run=run.ticket.run, events=list(spooled(run.directory))), directory)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(cycle(Path.cwd())) + "\n")
