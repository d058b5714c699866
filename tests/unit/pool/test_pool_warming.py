"""Making clusters READY ahead of those who will ask for them: what may be taken for it, and what never is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_kina import memory as machine
from pytest_kina.errors import PoolTimeoutError
from pytest_kina.pool import permits, warming
from tests.support.pool_kit import Kit, want

Make = Callable[..., Kit]
Order = Callable[..., object]


def test_a_used_cluster_is_reset_before_a_slot_is_filled(kit: Kit) -> None:
    """It costs less, and leaves the empty slot to others."""
    kit.lease().release()
    made = warming.warm(kit.pool._actor, want(), another=True)
    assert made is not None
    assert (made.slot, made.start, made.record.state) == (0, "reused", "READY")
    assert kit.states() == ["READY", "EMPTY"]


def test_another_one_leaves_those_alone_that_stand_already(kit: Kit) -> None:
    """Two spares are two clusters; when the slots are used up there is no third, and nothing goes for it."""
    actor = kit.pool._actor
    for expected in (1, 2):
        assert warming.warm(actor, want(), another=True) is not None
        assert kit.pool.ready(want()) == expected
    assert warming.warm(actor, want(), another=True) is None
    assert warming.warm(actor, want(simulated_nodes=7), another=True) is None
    assert kit.pool.ready(want()) == 2


def test_a_spare_that_died_is_replaced_by_who_takes_it(kit: Kit) -> None:
    """What is handed out was healthy a moment before."""
    made = warming.warm(kit.pool._actor, want(), another=True)
    assert made is not None
    (kit.root.clusters / made.record.cluster / "backend").unlink()
    lease = kit.lease()
    assert (lease.start, lease.name != made.record.cluster) == ("fresh", True)
    lease.release()


def test_what_was_made_ahead_is_unused(kit: Kit) -> None:
    """So it may serve who wants a cluster that nobody has used, and who does not."""
    made = warming.warm(kit.pool._actor, want())
    assert made is not None
    assert (made.record.uses, made.record.run) == (0, kit.run)
    lease = kit.lease("fresh")
    assert (lease.name, lease.start) == (made.record.cluster, "spare")


def test_one_that_stands_ready_is_enough(kit: Kit) -> None:
    """Unless another one is asked for."""
    first, second = (warming.warm(kit.pool._actor, want()) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (second.record.cluster, second.start) == (first.record.cluster, "spare")
    assert (kit.pool.ready(want()), kit.pool.ready(want(version="1.34"))) == (1, 0)


def test_a_cluster_that_its_run_has_left_is_not_taken_for_it(kit: Kit) -> None:
    """The run may join it again as it is; who makes something ahead fills another slot."""
    kit.lease("namespace").release()
    made = warming.warm(kit.pool._actor, want(), another=True)
    assert made is not None
    assert (made.slot, kit.states()) == (1, ["SHARED", "READY"])


def test_a_slot_that_cannot_serve_is_left_as_it_is(kit: Kit) -> None:
    """A warm cluster of another kind does not go, and what a first user left behind is not handed out as unused."""
    kit.lease("exclusive", simulated_nodes=3).release()
    made = warming.warm(kit.pool._actor, want("fresh"))
    assert made is not None
    assert (made.slot, made.start) == (1, "fresh")
    assert warming.warm(kit.pool._actor, want(version="1.34")) is None
    assert kit.states() == ["DIRTY", "READY"]


def test_warming_waits_for_a_permit_until_the_start_time_out(make_kit: Make) -> None:
    """Others are starting: it says how many, and for how long they did."""
    kit = make_kit(start_timeout=0.15)
    with ExitStack() as others:
        for _ in range(permits.limit()):
            others.enter_context(permits.permit(kit.root.starts))
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError, match=f"^{permits.limit()} other clusters were starting for 0.15 s"):
            warming.warm(kit.pool._actor, want())
        assert time.monotonic() - began >= 0.15
        assert kit.states() == ["EMPTY", "EMPTY"]
    assert warming.warm(make_kit().pool._actor, want()) is not None


def test_what_does_not_become_ready_is_not_announced(kit: Kit, order: Order) -> None:
    """A slot whose cluster can be neither reset nor deleted is quarantined, and the next one is filled."""
    kit.lease().release()
    order(failures={"reset": "boom", "delete": "busy"})
    made = warming.warm(kit.pool._actor, want())
    assert made is not None
    assert (made.slot, kit.states()) == (1, ["QUARANTINED", "READY"])
    order()


@pytest.mark.parametrize(
    ("text", "suffices"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    8000000 kB\n", True),
        ("MemAvailable: 600000 kB\n", False),
        ("MemTotal: 9 kB\n", True),
    ],
)
def test_memory_bounds_what_is_made_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, suffices: bool
) -> None:
    """A cluster that nobody needs yet must not take the memory of those that run."""
    (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    assert warming.memory_suffices() == suffices
    (tmp_path / "meminfo").unlink()
    assert warming.memory_suffices()
