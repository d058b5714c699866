"""Pools and wants for tests, on the provider without processes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from pytest_kina.pool import Lease, Pool, Root, SlotStatus, Want, open_root
from pytest_kina.pool.records import Record, peek, write
from pytest_kina.progress import silent
from pytest_kina.providers import find
from pytest_kina.spec import ClusterSpec, Isolation, fingerprint
from pytest_kina.timing import TimingRecorder

FAKE = "pytest_kina.testing:FakeProvider"


def want(isolation: str = "exclusive", provider_name: str = FAKE, **spec: Any) -> Want:
    """A prepared want, for the fake provider unless another is named; keywords are fields of the spec."""
    provider = find(provider_name)
    shape = ClusterSpec(**spec)
    identity = provider.prepare(shape, silent)
    return Want(
        spec=shape,
        provider_name=provider_name,
        provider=provider,
        identity=identity,
        fingerprint=fingerprint(shape, provider.info.name, identity),
        isolation=Isolation(isolation),
    )


def run_id() -> str:
    """A run of its own."""
    return secrets.token_hex(8)


class Kit:
    """One process of one run: a pool with short time-outs, and what its recorder saw."""

    def __init__(
        self,
        path: Path,
        *,
        run: str = "",
        size: int = 2,
        ttl: float = 900.0,
        lease_timeout: float = 5.0,
        start_timeout: float = 30.0,
    ) -> None:
        self.root: Root = open_root(path)
        self.run = run or run_id()
        self.recorder = TimingRecorder(run=self.run, worker="main")
        self.pool = Pool(
            self.root,
            run=self.run,
            worker="main",
            size=size,
            ttl=ttl,
            lease_timeout=lease_timeout,
            start_timeout=start_timeout,
            recorder=self.recorder,
        )

    def lease(self, isolation: str = "exclusive", **spec: Any) -> Lease:
        """Lease one cluster; keywords as for :func:`want`."""
        (lease,) = self.pool.lease([want(isolation, **spec)], note="tests/test_it.py::test_it")
        return lease

    def record(self, slot: int) -> Record | None:
        """What a slot's record says."""
        return peek(self.root.slots, slot)

    def put(self, slot: int, record: Record) -> None:
        """Write a record, as somebody who died since."""
        write(self.root.slots, slot, record)

    def states(self) -> list[str]:
        """The state of every slot."""
        return [each.state for each in self.pool.status()]

    def status(self, slot: int) -> SlotStatus:
        """One slot's status."""
        return self.pool.status()[slot]

    def clusters(self) -> list[str]:
        """The cluster directories that exist."""
        return sorted(path.name for path in self.root.clusters.iterdir())

    def phases(self) -> list[str]:
        """The phases that were recorded since the last call."""
        return [event.phase.value for event in self.recorder.drain()]
