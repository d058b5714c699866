"""The life of clusters that are one etcd each under the real supervisor, to its end, whatever fails on the way."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from pytest_kina import crashpoints
from pytest_kina.errors import ProvisionError
from pytest_kina.pool import Lease, tidying
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import processes
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.waiting import Deadline, wait_until
from tests.support.etcd_provider import NAME, EtcdProvider
from tests.support.pool_kit import Kit
from tests.support.universal import every_process

_BACKGROUND = 8.0
_IDLE = 5.0
"""Seconds after which a sweep deletes a cluster that nobody uses."""


def live_with_etcd(root: Path) -> None:
    """Make, adopt, release, reset, share; let the idle helper reset one; kill one's etcd; replace it; delete all.

    Steps that only some points need are taken for these.
    """
    point = os.environ.get(crashpoints.ENVIRONMENT, "")
    kit = Kit(root, ttl=0.0, lease_timeout=1.0, start_timeout=20.0)
    for isolation in ("exclusive", "exclusive", "namespace"):
        with suppress(Exception):
            kit.lease(isolation, provider_name=NAME).release()
    if "record.READY" in point or "check." in point:
        with suppress(Exception):
            announce(root)
    if ".helper." in point:
        with suppress(Exception):
            kit.lease(provider_name=NAME).release()
            wait_until(lambda: "READY" in kit.states() or None, Deadline(_BACKGROUND), interval=0.05)
    with suppress(Exception):
        lease = kit.lease(provider_name=NAME)
        kill_etcd(lease)
        lease.release()
    with suppress(Exception):
        kit.lease(provider_name=NAME).release()
    with suppress(Exception):
        kit.pool.retire()
    with suppress(Exception):
        kit.pool.close()
    if "record.QUARANTINED" in point:
        refuse_to_go(root)


def announce(root: Path) -> None:
    """Reset a cluster whose time is not over, as its idle helper would; take it as it is; then delete it."""
    kit = Kit(root, ttl=_IDLE)
    lease = kit.lease(provider_name=NAME)
    lease.release()
    kit.pool.close()
    try:
        tidying.advise(kit.pool._actor, lease.number, lease.name)
        kit.lease(provider_name=NAME).release()
    finally:
        kit.pool.retire()


def refuse_to_go(root: Path) -> None:
    """Try to delete a cluster that cannot be deleted, until it is quarantined; a later run can delete it."""
    kit, delete = Kit(root, ttl=0.0), EtcdProvider.delete
    try:
        with suppress(Exception):
            kit.lease(provider_name=NAME).release()
        EtcdProvider.delete = _refuse  # type: ignore[method-assign]
        for _ in range(3):
            with suppress(Exception):
                kit.pool.retire()
    finally:
        EtcdProvider.delete = delete  # type: ignore[method-assign]
        with suppress(Exception):
            kit.pool.close()


def _refuse(provider: EtcdProvider, place: Place) -> None:
    raise ProvisionError("it does not want to go", cluster=place.name)


def kill_etcd(lease: Lease) -> None:
    """SIGKILL the component, and wait until the supervisor has written down what happened."""
    for pid, line, _ in every_process():
        if line.split(maxsplit=1)[0].endswith("/etcd") and f"{lease.directory}/" in line:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _is_known_dead(lease) or None, Deadline(5.0), interval=0.05)


def _is_known_dead(lease: Lease) -> bool:
    """Not by etcd's silence: a supervisor that has stopped meanwhile would be killed before anybody has seen it stop."""
    layout = Layout(lease.directory)
    return layout.died.exists() or processes.supervisor(layout.identity, lease.name) is None
