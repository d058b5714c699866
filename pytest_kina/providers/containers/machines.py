"""The machines of one cluster on Apple Container: whether they are still the same, and how they are got rid of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytest_kina.errors import KinaError, ProvisionError
from pytest_kina.files import peek_json, write_json
from pytest_kina.providers import Place
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.apple import Apple, Machine

_SCHEMA = 1
_FILE = "machines.json"

Find = Callable[[str], Sequence[Machine]]
"""The machines that a cluster has now. Raises :class:`CommandError` and :class:`ProvisionError`."""


def listed(machines: Sequence[Machine]) -> str:
    """Names and states, for people."""
    return ", ".join(f"{machine.name} ({machine.state})" for machine in machines)


def note(place: Place, machines: Sequence[Machine]) -> None:
    """The cluster is ready: remember which machines it has, by address and start."""
    identities = {machine.name: [machine.address, machine.started] for machine in machines}
    write_json(place.directory / _FILE, _SCHEMA, {"machines": identities})


def check(place: Place, find: Find) -> str | None:
    """One sentence unless the machines that were noted have run since, and ``/readyz`` is ok."""
    noted = peek_json(place.directory / _FILE, _SCHEMA)
    if noted is None:
        return "its creation was not finished"
    try:
        return _changed(noted["machines"], find(place.name)) or Access(place.directory).unready()
    except (OSError, ValueError, KinaError) as error:
        return f"it cannot be asked: {error}"


def delete(place: Place, apple: Apple, find: Find, kindly: Callable[[], str]) -> None:
    """Let the tool delete the cluster, then delete by force what is left, and prove that nothing is.

    ``kindly`` returns what the tool said if it failed, which proves nothing either way. Raises :class:`ProvisionError`
    when a machine stays.
    """
    if not find(place.name):
        return
    said = kindly()
    if left := find(place.name):
        apple.remove([machine.name for machine in left])
        left = find(place.name)
    if left:
        raise ProvisionError(
            f"cluster {place.name} could not be deleted; still there: {listed(left)}" + (f"\n{said}" if said else ""),
            next_step=f"container delete --force {' '.join(machine.name for machine in left)}",
            cluster=place.name,
        )


def _changed(noted: Mapping[str, Sequence[str]], machines: Sequence[Machine]) -> str | None:
    """One sentence when a machine that was ``noted`` is not the same any more, or does not run.

    A restarted machine has another address, for which nothing in its cluster has a certificate.
    """
    now = {machine.name: machine for machine in machines}
    for name, (address, started) in noted.items():
        machine = now.get(name)
        if machine is None or machine.state != "running":
            return f"its node {name} is {machine.state if machine else 'gone'}"
        if [machine.address, machine.started] != [address, started]:
            return f"its node {name} was restarted ({address} since {started}; now {machine.address})"
    return None
