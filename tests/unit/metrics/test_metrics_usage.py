"""Memory, processor time and disk of real processes and files, and the files that carry measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.marks import ClusterRequest
from pytest_kina.metrics import memory, samples
from pytest_kina.metrics import usage as measuring
from pytest_kina.metrics.probing import count_objects, probe_latency
from pytest_kina.metrics.samples import Metric
from pytest_kina.metrics.usage import Usage, disk_bytes, family, resident, usage
from pytest_kina.run import Run
from pytest_kina.settings import Project, resolve
from pytest_kina.spec import ClusterSpec

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


def test_where_there_is_no_proc_psutil_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Mac: memory and processor time of each process that is named, and no shares or descendants of it."""
    here = usage([os.getpid()])
    monkeypatch.setattr(measuring, "_PROC", tmp_path)
    there = usage([os.getpid()])
    assert (there.processes, there.pss) == (1, None)
    assert there.rss == pytest.approx(here.rss, rel=0.2)
    assert there.cpu_seconds >= here.cpu_seconds - 0.02
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert usage([ended.pid]) == Usage(pss=0)
    assert (family(os.getpid()), resident()) == ([os.getpid()], 0)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert usage([os.getpid()]).processes == 0


def test_what_does_not_tell_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends while it is looked at has no share of memory and no children."""
    (tmp_path / "7" / "task" / "8").mkdir(parents=True)
    (tmp_path / "7" / "stat").write_text(f"7 (it) {' 0' * 20}")
    (tmp_path / "7" / "smaps_rollup").write_text("Rss: 4 kB\n")
    monkeypatch.setattr(measuring, "_PROC", tmp_path)
    assert usage([7]) == Usage(processes=1)
    assert family(7) == [7]


def test_a_cluster_that_does_not_answer_is_not_probed(tmp_path: Path) -> None:
    """Its times and objects are missing from the metrics; the test that leased it has its result."""
    flags: dict[str, str | None] = {"home": str(tmp_path / "home"), "provider": "pytest_kina.testing:FakeProvider"}
    run = Run(resolve(flags=flags, environ={}, project=Project()), worker="main")
    cluster = run.lease(ClusterRequest(clusters=(("", ClusterSpec()),)), note="me").main
    assert probe_latency(cluster, 3) == ()
    assert count_objects(cluster) == {}
    run.close()


def test_a_run_that_is_removed_right_now_is_the_oldest(tmp_path: Path) -> None:
    """Looking for what a cluster took does not fail when another process tidies."""
    assert memory._changed(tmp_path) > memory._changed(tmp_path / "gone") == 0.0


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
