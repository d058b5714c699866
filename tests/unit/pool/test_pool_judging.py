"""What becomes of a cluster that nobody holds: the decision and the sentence, for each state and age."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_kina.pool.judging import Judgement, alive, judge
from pytest_kina.pool.records import Record, State
from tests.support.pool_kit import Kit, run_id, want

Make = Callable[..., Kit]
RUN = "0" * 16
IDLE = Record(state=State.READY, cluster="kina-abc-0-def", provider="fake", fingerprint="f", run=RUN, ttl=60.0)


def healthy(_: Record) -> str | None:
    """A check that finds nothing."""
    return None


def judged(kit: Kit, record: Record, *, idle: float = 5.0, by: str = "", **how: Any) -> Judgement:
    """The judgement on a record that was written ``idle`` seconds ago (and a bit less than one)."""
    record = replace(record, idle_since=time.time() - idle - 0.5)
    return judge(kit.root, 0, record, run=by or kit.run, **{"check": healthy, **how})


CASES = {
    "doomed": ({"state": State.DOOMED, "last_error": "no disk"}, {}, "delete", "no disk"),
    "doomed without a word": ({"state": State.DOOMED}, {}, "delete", "it was left unfinished, or it was to be deleted"),
    "ready": ({}, {}, "keep", "idle for 5s of 1m 00s"),
    "dirty": ({"state": State.DIRTY}, {}, "keep", "idle for 5s of 1m 00s; it is reset before its next use"),
    "shared by the dead": ({"state": State.SHARED, "users": ("0.1.2",)}, {}, "keep", "idle for 5s of 1m 00s; it is re"),
    "too long idle": ({}, {"idle": 60.0}, "delete", "idle for 1m 00s of 1m 00s"),
    "almost too long": ({}, {"idle": 59.0}, "keep", "idle for 59s of 1m 00s"),
    "its run keeps nothing": ({"ttl": 0.0}, {}, "delete", f"run {RUN}, which keeps nothing, is over"),
    "dead": ({}, {"check": lambda _: "etcd exited"}, "delete", "it is dead: etcd exited"),
    "by force": ({}, {"force": True}, "delete", "nobody uses it, and --force asks for it"),
    "quarantined by this run": (
        {"state": State.QUARANTINED, "last_error": "stuck"},
        {"by": RUN, "force": True},
        "keep",
        "this run has tried to delete it: stuck",
    ),
    "quarantined by another run": (
        {"state": State.QUARANTINED, "last_error": "stuck"},
        {},
        "delete",
        "one more try; it could not be deleted before: stuck",
    ),
    "kept for a person": (
        {"state": State.QUARANTINED, "kept": True, "last_error": "kept: it failed"},
        {"force": True},
        "keep",
        "kept: it failed; `pytest-kina down kina-abc-0-def` deletes it",
    ),
}


@pytest.mark.parametrize(("record", "how", "decision", "why"), CASES.values(), ids=CASES.keys())
def test_the_judgement_on_a_cluster(
    make_kit: Make, record: dict[str, Any], how: dict[str, Any], decision: str, why: str
) -> None:
    """Who asks is told what is done and why."""
    found = judged(make_kit(), replace(IDLE, **record), **how)
    assert (found.decision, found.why[: len(why)]) == (decision, why)


def test_health_is_asked_last(make_kit: Make) -> None:
    """Only of a cluster that would stay: looking takes time, and a dead one in use is its users' matter."""
    kit = make_kit()
    lease = kit.lease("namespace")
    record = kit.record(lease.number)
    assert record is not None

    def never(_: Record) -> str | None:
        pytest.fail("it was asked")

    kept = judged(kit, record, idle=3600.0, by=run_id(), check=never, force=True)
    assert (kept.decision, kept.why.partition(" of run ")[2]) == ("keep", kit.run)
    assert judged(kit, IDLE, idle=3600.0, check=never).decision == "delete"
    lease.release()


def test_a_cluster_of_a_run_that_keeps_nothing_stays_while_the_run_lives(make_kit: Make) -> None:
    """A process of the run that holds its lock is the proof of life."""
    kit = make_kit()
    lease = kit.lease("namespace")
    (name,) = alive(kit.root, kit.run)
    assert name.startswith(f"{kit.run}.")
    idle = replace(IDLE, run=kit.run, ttl=0.0, fingerprint=want().fingerprint)
    assert judged(kit, idle, idle=3600.0) == Judgement(decision="keep", why=f"run {kit.run} goes on")
    lease.release()
    kit.pool.close()
    assert alive(kit.root, kit.run) == []
    assert judged(kit, idle).decision == "delete"
