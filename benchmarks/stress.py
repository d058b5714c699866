"""Many processes on few slots: leases per second, how long they wait, how fairly they are served, and no overlap.

    python -m benchmarks.stress [--seconds 600] [--processes 16] [--slots 4] [--seed 1] [--record]

Clusters are files (the fake provider), so what is measured is the pool: locks, records, polling, free resets.
Two runs of half of the processes each; every lease is exclusive, kept for 0 to 10 ms. A use begins with a mark that is
created with ``O_EXCL``, and all histories are checked for overlaps after the end. Exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from benchmarks.recording import machine_line, markdown_table, publish
from tests.support.histories import Use, overlaps
from tests.support.pool_campaign import Campaign
from tests.support.pool_kit import run_id

_HOLD = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Fight, check, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kina-stress-") as place:
        uses, wrong, seconds = _fight(Path(place), chosen)
    pairs = overlaps(uses)
    how = f"{chosen.processes} processes of two runs on {chosen.slots} slots for {seconds:.0f} s, seed {chosen.seed}"
    lines = [
        f"{how}; every lease exclusive, kept for 0 to {_HOLD * 1000:g} ms.",
        "",
        *_figures(uses, seconds, len(pairs)),
    ]
    publish("Contention", machine_line(), lines, record=chosen.record)
    print(wrong)
    return 1 if pairs or wrong else 0


def _fight(place: Path, chosen: argparse.Namespace) -> tuple[list[Use], str, float]:
    orders = {"leases": 10**9, "hold": _HOLD, "size": chosen.slots, "lease_timeout": 300.0}
    with Campaign(place / "root", place / "out", orders, seed=chosen.seed) as campaign:
        runs = (run_id(), run_id())
        for number in range(chosen.processes):
            campaign.start(runs[number % 2])
        campaign.go()
        began = time.monotonic()
        time.sleep(chosen.seconds)
        campaign.stop()
        return campaign.histories(), campaign.wrong(), time.monotonic() - began


def _figures(uses: Sequence[Use], seconds: float, overlapping: int) -> list[str]:
    waits = sorted(use.begun - use.asked for use in uses)
    cuts = quantiles(waits, n=100)
    served = Counter(use.pid for use in uses)
    rows = [
        ["leases", str(len(uses))],
        ["leases per second", f"{len(uses) / seconds:.1f}"],
        ["wait, p50, ms", f"{cuts[49] * 1000:.1f}"],
        ["wait, p99, ms", f"{cuts[98] * 1000:.1f}"],
        ["longest wait, ms", f"{waits[-1] * 1000:.1f}"],
        ["leases of the process with fewest and most", f"{min(served.values())} and {max(served.values())}"],
        ["overlapping uses", str(overlapping)],
    ]
    return markdown_table(["figure", "value"], rows)


if __name__ == "__main__":
    sys.exit(main())
