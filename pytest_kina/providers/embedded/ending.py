"""Ending a cluster for certain."""

from __future__ import annotations

from contextlib import suppress

from pytest_kina.errors import ProvisionError
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import link, processes
from pytest_kina.providers.embedded.layout import Layout

_STOP_SECONDS = 2.0
_KILL_SECONDS = 5.0


def end(place: Place) -> None:
    """Nothing of the cluster runs any more. Raises :class:`ProvisionError` when something could not be ended."""
    layout = Layout(place.directory)
    if mine := link.claim(place.name):
        mine.close()
    pid = processes.supervisor(layout.identity, place.name)
    with suppress(OSError):  # no directory, or no room: the signal below says the same
        layout.stop.touch(mode=0o600)
    if pid is not None:
        processes.terminate(pid, place.name, _STOP_SECONDS)
    left = processes.kill_marked(place.name, _KILL_SECONDS)
    link.reap()
    if left:
        raise ProvisionError(
            f"cluster {place.name}: processes {left} still run {_KILL_SECONDS:g} s after SIGKILL",
            next_step="look at them with ps; they wait for the kernel, most likely for a disk",
            cluster=place.name,
        )
