"""Memory, processor time and disk of real processes and files, and the files that carry measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.cluster import latency
from pytest_kina.metrics import samples
from pytest_kina.metrics.samples import Metric
from pytest_kina.metrics.usage import disk_bytes, family, resident, usage

_PARENT = """
import subprocess, sys
held = bytearray(64 * 1024 * 1024)
held[::4096] = b"x" * len(held[::4096])
sum(range(5_000_000))
child = subprocess.Popen([sys.executable, "-c", "print('ready', flush=True); input()"], stdin=subprocess.PIPE)
input()
child.communicate()
"""


def test_a_process_and_its_children_are_measured() -> None:
    """64 MiB that were touched show up, processor time counts, and children are found."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        pids = family(parent.pid)
        measured = usage(pids)
        alone = usage([parent.pid])
        parent.communicate(b"\n")
    assert len(pids) == measured.processes == 2
    assert alone.rss > 64 * 1024 * 1024
    assert alone.rss < measured.rss
    assert measured.pss is None or 64 * 1024 * 1024 < measured.pss <= measured.rss
    assert alone.cpu_seconds > 0
    assert usage([parent.pid]).processes == 0


def test_resident_memory_of_this_process_agrees_with_what_is_read_for_any() -> None:
    """The quick way and the thorough way see the same process."""
    assert resident() == pytest.approx(usage([os.getpid()]).rss, rel=0.2)


def test_disk_counts_what_is_allocated_and_follows_no_links(tmp_path: Path) -> None:
    """Files in subdirectories count; a link to a large file elsewhere does not."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "file").write_bytes(os.urandom(100_000))
    outside = tmp_path / "outside"
    outside.write_bytes(os.urandom(1_000_000))
    (inside / "link").symlink_to(outside)
    assert 100_000 <= disk_bytes(tmp_path / "a") < 200_000
    assert disk_bytes(tmp_path / "missing") == 0


def test_measurements_survive_their_way_through_files(tmp_path: Path) -> None:
    """What several processes wrote is read back; torn lines, other things and newer schemas are skipped."""
    written = [
        Metric(kind="cluster", name="c", when="release", worker="gw0", probe=(0.1, 0.2), objects={"pods": 3}),
        Metric(kind="process", name="gw1", when="end", worker="gw1", growth=7),
    ]
    for metric in written:
        samples.write(tmp_path, metric)
    newer = json.dumps({**written[0].to_json(), "schema": 99})
    (tmp_path / "metrics" / "gw2.jsonl").write_text(f'{{"schema": 1}}\nnull\n{newer}\n{{"schema"')
    assert samples.read(tmp_path) == written
    assert samples.read(tmp_path / "elsewhere") == []


def test_latencies_are_of_answered_requests_and_taken_once() -> None:
    """A request that failed has no latency."""
    with latency.noted("one"):
        pass
    with pytest.raises(ZeroDivisionError), latency.noted("one"):
        raise ZeroDivisionError
    assert len(latency.take("one")) == 1
    assert latency.take("one") == ()
