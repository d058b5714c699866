"""The idle helper: ``python -P -m pytest_kina._tidy --root R --slot K --cluster NAME``.

A cluster's supervisor starts it when the slot's lock is free; it does what is due and prints one line of JSON that
says when to start it again (docs/architecture.md, "Who watches a cluster").
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pytest_kina.pool import Root, open_root, records
from pytest_kina.pool.actor import Actor
from pytest_kina.pool.tidying import Advice, advise
from pytest_kina.timing import TimingRecorder

_START = 60.0  # seconds that a reset in the background may take


def main(arguments: Sequence[str] | None = None) -> int:
    """Tidy one slot and print the advice. Raises :class:`~pytest_kina.errors.StateError` when the root is unusable."""
    parser = argparse.ArgumentParser(prog="pytest_kina._tidy", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--cluster", required=True)
    chosen = parser.parse_args(arguments)
    # Asked before the root is opened, because that would make it: a removed root stays removed.
    if not chosen.root.is_dir():
        advice = Advice(stop=True)
    else:
        root = open_root(chosen.root)
        advice = advise(actor_of(root, chosen.slot), chosen.slot, chosen.cluster)
    # Deleting the cluster ended the supervisor that listens.
    with suppress(BrokenPipeError):
        print(json.dumps(asdict(advice)), flush=True)  # noqa: T201 - this is the answer
    return 0


def actor_of(root: Root, slot: int) -> Actor:
    """Who tidies a slot in the background: its timings are shown by the next run."""
    record = records.peek(root.slots, slot)
    run = record.run if record else ""
    spool = root.runs / run / f"idle-{slot}.jsonl"
    worker = f"idle-{slot}"
    recorder = TimingRecorder(run=run, worker=worker, spool=spool if run and spool.parent.is_dir() else None)
    return Actor(root=root, run=run, worker=worker, size=0, ttl=0.0, start_timeout=_START, recorder=recorder)


if __name__ == "__main__":
    raise SystemExit(main())
