"""Joining, keeping and leaving a shared cluster when something happens in between."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from pytest_kina.errors import PoolTimeoutError
from pytest_kina.pool import memberships
from pytest_kina.pool.records import State, record_path
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.testing import FakeProvider
from tests.support.pool_kit import Kit

Make = Callable[..., Kit]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who joins, keeps or leaves gives up on a locked slot at once."""
    monkeypatch.setattr(memberships, "_JOIN", 0.05)
    monkeypatch.setattr(memberships, "_LEAVE", 0.05)


def held(kit: Kit, number: int = 0) -> HeldSlot:
    """The slot, locked by somebody else."""
    found = HeldSlot.take(kit.pool._actor, number)
    assert found is not None
    return found


def test_who_cannot_lock_the_slot_does_not_join(make_kit: Make, impatient: None) -> None:
    """A slot that stays locked is asked for again, and the wait ends at its deadline; nobody is named as user."""
    first = make_kit(size=1)
    second = make_kit(run=first.run, size=1)
    lease = first.lease("namespace")
    with closing(held(first)), pytest.raises(PoolTimeoutError, match="no cluster became free within"):
        second.lease("namespace")
    assert len(first.status(0).users) == 1
    assert second.lease("namespace").name == lease.name


@pytest.mark.parametrize("change", [{"state": State.DOOMED}, {"broken": True}, {"run": "another"}])
def test_what_changed_before_the_lock_is_not_joined(
    make_kit: Make, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The record that counts is the one under the lock, not the one that led there."""
    first = make_kit()
    second = make_kit(run=first.run)
    lease = first.lease("namespace")
    before = first.record(0)
    assert before is not None
    look = memberships.unhealthy

    def meanwhile(*arguments: Any) -> str | None:
        first.put(0, replace(before, **change))
        return look(*arguments)

    monkeypatch.setattr(memberships, "unhealthy", meanwhile)
    other = second.lease("namespace")
    assert other.name != lease.name
    record = second.record(other.number)
    assert record is not None
    assert len(record.users) == 1


def test_a_check_that_cannot_say_is_asked_again_under_the_lock(make_kit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the quick look is no verdict; what counts is the answer under the slot's lock."""
    first = make_kit()
    second = make_kit(run=first.run)
    lease = first.lease("namespace")
    answers = iter([OSError("not now")])
    check = FakeProvider.check

    def once(*arguments: Any) -> str | None:
        for error in answers:
            raise error
        return check(*arguments)

    monkeypatch.setattr(FakeProvider, "check", once)
    assert second.lease("namespace").name == lease.name


def test_who_cannot_lock_the_slot_stays_on_the_record(make_kit: Make, impatient: None) -> None:
    """Leaving gives up after its patience, without an error: the name ends with the process."""
    kit = make_kit()
    lease = kit.lease("namespace")
    with closing(held(kit)):
        lease.release()
    assert len(kit.status(0).users) == 1
    kit.pool.close()
    assert make_kit(size=1).lease("namespace").name == lease.name


def test_a_record_of_a_newer_version_does_not_keep_anybody_from_leaving(
    make_kit: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left as it is, and the log says so; the test that gives its cluster back sees no error."""
    kit = make_kit()
    lease = kit.lease("namespace")
    newer = '{"schema": 99}'
    record_path(kit.root.slots, 0).write_text(newer, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        lease.release()
    assert f"could not sign off from {lease.name}" in caplog.text
    assert record_path(kit.root.slots, 0).read_text(encoding="utf-8") == newer


def test_what_has_another_cluster_by_now_is_not_left(make_kit: Make) -> None:
    """A record that was replaced under a user's feet (by hand) is none of his business any more."""
    kit = make_kit()
    lease = kit.lease("namespace")
    record = kit.record(0)
    assert record is not None
    other = replace(record, cluster=f"{record.cluster[:-8]}deadbeef")
    kit.put(0, other)
    lease.release()
    assert kit.record(0) == other


def test_keeping_says_whether_it_could(make_kit: Make, impatient: None) -> None:
    """Not while somebody else holds the slot, and not when it has another cluster by now."""
    kit = make_kit()
    lease = kit.lease("namespace")
    with closing(held(kit)):
        assert not lease.keep("a test failed")
    record = kit.record(0)
    assert record is not None
    assert not record.kept
    kit.put(0, replace(record, cluster=f"{record.cluster[:-8]}deadbeef"))
    assert not lease.keep("a test failed")
    kit.put(0, record)
    assert lease.keep("a test failed")
    kept = kit.record(0)
    assert kept is not None
    assert (kept.kept, kept.last_error) == (True, "kept: a test failed")


def test_a_lease_can_be_read_and_survives_a_check_that_fails(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text names cluster and isolation; a check that raises is an answer, not an error of the test."""
    lease = kit.lease()
    assert repr(lease) == f"<Lease of {lease.name}, exclusive>"
    monkeypatch.setattr(lease, "_check", lambda: (_ for _ in ()).throw(OSError("no route")))
    assert lease.unhealthy() == "the health check failed: no route"
    assert not lease.released
    lease.release()
    assert repr(lease) == f"<Lease of {lease.name}, exclusive, released>"
    assert lease.released
