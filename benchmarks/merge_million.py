"""Time and memory of merging, judging and reporting a run of a million events.

    python -m benchmarks.merge_million [--events 1000000] [--workers 8]

The events are those of clusters that live and die, written as the spool files of so many xdist workers; half of them
arrive on reports, too, as they do in a real run. Each step runs once, in this order, in one process; memory is the
process's highest RSS so far. The seconds are those of the clock, and of the processor, which others do not lengthen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_kina import gate
from pytest_kina.examination import Outcome
from pytest_kina.html import page
from pytest_kina.publishing.prometheus import exposition
from pytest_kina.report import runs
from pytest_kina.report.benchmark_json import document, write_benchmarks
from pytest_kina.report.merge import Ledger
from pytest_kina.report.summary import RunTimings, write_summary
from pytest_kina.report.table import table
from pytest_kina.timing import Phase, TimingEvent

_PHASES = (Phase.LEASE_WAIT, Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY, Phase.DELETE)
_BEGIN = 1_700_000_000.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=8)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="merge-million-") as scratch:
        directory = Path(scratch) / "runs" / "r1"
        directory.mkdir(parents=True)
        _spool(directory, chosen.events, chosen.workers)
        _measure(directory, chosen.events)
    return 0


def _measure(directory: Path, count: int) -> None:
    print("| step | seconds | of processor time | memory at most |\n| --- | --- | --- | --- |", flush=True)
    ledger = Ledger()
    with _step("take half of them from reports"):
        _report(ledger, directory)
    with _step("read the spool files, and sort"):
        ledger.add(runs.spooled(directory))
        events = ledger.events
    if len(events) != count:
        raise SystemExit(f"{len(events)} events of {count}")
    timings = RunTimings(run="r1", events=events)
    with _step("table for the terminal"):
        table(events)
    with _step("summary.json"):
        write_summary(directory, timings)
    with _step("--kina-bench-json"):
        write_benchmarks(directory / "bench.json", timings, directory)
    with _step("benchmark document for the gate"):
        whole = document(timings, directory)
    with _step("judge"):
        run = gate.measured(whole, place="this run")
        history = gate.History(machine=run.machine)
        judgement = gate.judge(run, history, gate.Rules())
    outcome = Outcome(timings=timings, document=whole, judgement=judgement, history=history)
    with _step("HTML report"):
        size = len(page(outcome))
    with _step("Prometheus file"):
        exposition(outcome)
    print(f"HTML report: {size / 1024:.0f} KiB")


def _report(ledger: Ledger, directory: Path) -> None:
    """Every other event, as it comes from a worker: a few at a time, as plain JSON types."""
    for path in sorted(directory.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, 0, None, 2):
                ledger.add_documents([json.loads(line)])


def _spool(directory: Path, count: int, workers: int) -> None:
    streams = [(directory / f"gw{number}.jsonl").open("w", encoding="utf-8") for number in range(workers)]
    for number in range(count):
        worker = number // len(_PHASES) % workers
        streams[worker].write(json.dumps(_event(number, worker).to_json()) + "\n")
    for stream in streams:
        stream.close()


def _event(number: int, worker: int) -> TimingEvent:
    cluster = number // len(_PHASES)
    return TimingEvent(
        id=f"r1-gw{worker}-1-{number}",
        run="r1",
        phase=_PHASES[number % len(_PHASES)],
        seconds=0.5 + (number * 7919 % 1000) / 1000,
        t0=_BEGIN + number / 100,
        worker=f"gw{worker}",
        cluster=f"kina-0-{cluster}",
        provider="embedded",
        provider_version="0.1.0",
        kubernetes="v1.36.3",
        profile="workloads",
        nodes=1,
    )


@contextmanager
def _step(name: str) -> Iterator[None]:
    began, before = time.perf_counter(), time.process_time()
    yield
    seconds, busy = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
    print(f"| {name} | {seconds:.0f} | {busy:.0f} | {peak:.0f} MiB |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
