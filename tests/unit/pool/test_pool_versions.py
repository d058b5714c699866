"""A newer and an older version of the plugin on one root: what the newer one wrote in a schema of its own stays as it is.

The newer version is made up: it writes what we write, with a later schema, fields that we do not know, and without
fields that we need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.cli import main
from pytest_kina.errors import KinaError, ProvisionError
from pytest_kina.pool import Lease
from pytest_kina.pool.builds import Build
from pytest_kina.pool.records import State, record_path
from pytest_kina.pool.tidying import advise, tidy
from pytest_kina.providers import find
from pytest_kina.testing import FakeProvider
from tests.support.pool_kit import FAKE, Kit, want

Make = Callable[..., Kit]
Act = Callable[[Kit, Lease], object]


def future(path: Path) -> None:
    """Rewrite a document of ours as a later version might have written it."""
    path.write_text(json.dumps({"schema": 99, "was": json.loads(path.read_text()), "state": ["in", "another", "form"]}))


def snapshot(kit: Kit, lease: Lease) -> Mapping[str, bytes]:
    """Every file of the slot and its cluster."""
    slots = [path for path in kit.root.slots.glob(f"{lease.number}.*") if path.suffix != ".lock"]
    return {str(path): path.read_bytes() for path in (*slots, *lease.directory.rglob("*")) if path.is_file()}


def command(*arguments: str) -> Act:
    """A run of ``pytest-kina``."""
    return lambda kit, lease: main(["--home", str(kit.root.path), *(part.format(lease.name) for part in arguments)])


CASES = [("record", State.READY), ("cluster.json alone", State.READY), *(("cluster.json", each) for each in State)]
ACTS: Mapping[str, Act] = {
    "the sweep": lambda kit, _: kit.pool.tidy(),
    "the sweep by force": lambda kit, _: tidy(kit.pool._actor, 60.0, force=True),
    "a lease of its kind": lambda kit, _: kit.lease(),
    "a lease that wants its slot": lambda kit, _: kit.lease(version="1.34"),
    "a shared lease": lambda kit, _: kit.lease("namespace"),
    "the idle helper": lambda kit, lease: advise(kit.pool._actor, lease.number, lease.name),
    "the end of its run": lambda kit, _: kit.pool.retire(),
    "status": command("status"),
    "reap": command("reap", "--force"),
    "down": command("down"),
    "down by name": command("down", "{}"),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize(("kind", "state"), CASES)
def test_what_a_newer_version_wrote_is_left_alone(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch, kind: str, state: State, act: Act
) -> None:
    """Whatever we do, and although its cluster looks idle for hours: its record and its cluster stay byte by byte."""
    monkeypatch.setenv("KINA_PROVIDER", FAKE)
    monkeypatch.setenv("KINA_POOL_SIZE", "1")
    kit = make_kit(size=1, ttl=60.0)
    lease = kit.lease()
    lease.release()
    record = kit.record(lease.number)
    assert record is not None
    kit.put(lease.number, replace(record, state=state, idle_since=1.0))
    future(record_path(kit.root.slots, 0) if kind == "record" else lease.directory / "cluster.json")
    if kind == "cluster.json alone":
        record_path(kit.root.slots, lease.number).unlink()
    before = snapshot(kit, lease)
    with suppress(KinaError):  # a pool with one slot has none for us
        act(kit, lease)
    assert snapshot(kit, lease) == before


def test_the_end_of_a_run_does_not_wait_for_what_is_not_its_own(make_kit: Make) -> None:
    """A cluster that a newer version has taken over is named once, and not waited for."""
    kit = make_kit(size=1, ttl=0.0)
    lease = kit.lease()
    lease.release()
    future(lease.directory / "cluster.json")
    (said,) = kit.pool.retire()
    assert "slot 0: " in said
    assert "still uses" not in said


def test_a_pool_with_slots_of_a_newer_version_serves_from_the_others(make_kit: Make) -> None:
    """Both versions work at the same time, each with its own clusters."""
    kit = make_kit(size=2)
    lease = kit.lease()
    lease.release()
    future(record_path(kit.root.slots, lease.number))
    before = snapshot(kit, lease)
    other = kit.lease()
    assert (other.number, other.start) == (1, "fresh")
    other.release()
    kit.pool.tidy()
    assert kit.lease().name == other.name
    assert snapshot(kit, lease) == before


def test_fields_that_a_newer_version_adds_within_the_schema_are_ignored(make_kit: Make) -> None:
    """As long as the schema is the same, a record and a description with more in them mean what they meant."""
    kit = make_kit()
    lease = kit.lease()
    lease.release()
    for path in (record_path(kit.root.slots, 0), lease.directory / "cluster.json", kit.root.path / "pool.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"invented": {"later": [1, 2]}}))
    again = make_kit()
    assert again.root.pool_id == kit.root.pool_id
    assert (again.lease().name, again.status(0).state) == (lease.name, "DIRTY")


def test_the_health_of_another_versions_cluster_is_not_ours_to_judge(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks dead to us may be new to us: it stays until its time is over, which is a matter of the record."""
    kit = make_kit(ttl=60.0)
    lease = kit.lease()
    lease.release()
    (lease.directory / "backend").unlink()
    newer = type("Newer", (), {"name": "fake", "version": "2.0", "capabilities": frozenset()})
    monkeypatch.setattr(FakeProvider, "info", property(lambda _: newer))
    assert find(FAKE).info.version == "2.0"
    assert make_kit().pool.tidy() == []
    record = kit.record(0)
    assert record is not None
    kit.put(0, replace(record, idle_since=1.0))
    assert "idle for" in make_kit().pool.tidy()[0]


def test_a_newer_count_of_failures_is_no_verdict(make_kit: Make) -> None:
    """Builds of one run are of one version; a file that we cannot read does not break the circuit."""
    kit = make_kit()
    build = Build(kit.root.builds, f"{kit.run}.{want('namespace').fingerprint}")
    build.failed(ProvisionError("boom"))
    assert build.hopeless
    future(build.count_path)
    assert not build.hopeless
