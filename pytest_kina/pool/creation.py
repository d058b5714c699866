"""One cluster that is made from nothing in a slot, and what is said when that fails."""

from __future__ import annotations

import secrets

from pytest_kina import crashpoints
from pytest_kina.errors import ProvisionError, told
from pytest_kina.files import write_json
from pytest_kina.pool.actor import Actor, place_of
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.wants import Want
from pytest_kina.spec import ClusterDescription

_LOG_LINES = 40


class Creation:
    """Makes one cluster; the caller holds the slot's lock, writes the intent first, and deletes after a failure."""

    def __init__(self, actor: Actor, number: int, want: Want) -> None:
        self._actor = actor
        self._want = want
        self._description = ClusterDescription(
            name=f"kina-{actor.root.pool_id}-{number}-{secrets.token_hex(4)}",
            provider=want.provider_name,
            fingerprint=want.fingerprint,
            spec=want.spec,
            identity=tuple(sorted(want.identity.items())),
        )
        self._place = place_of(actor.root, number, self._description.name)

    def intent(self) -> Record:
        """What the next holder of the lock should find if this process dies while it makes the cluster."""
        return Record(
            state=State.DOOMED,
            cluster=self._description.name,
            provider=self._want.provider_name,
            fingerprint=self._want.fingerprint,
            run=self._actor.run,
            ttl=self._actor.ttl,
            note=self._actor.note("creating"),
        )

    def make(self) -> str:
        """Make the cluster; returns how it came about (``fresh``, ``template``). Raises whatever went wrong."""
        directory, description = self._place.directory, self._description
        with crashpoints.around("directory.make"):
            directory.mkdir(mode=0o700)
        with crashpoints.around("description"):
            write_json(directory / description.FILE, description.SCHEMA, description.to_json())
        stopwatch = self._actor.stopwatch(self._want.provider, description, start="fresh")
        with crashpoints.around("create"):
            self._want.provider.create(self._want.spec, self._place, stopwatch, timeout=self._actor.start_timeout)
        return stopwatch.start

    def logs(self, error: Exception) -> str:
        """The ends of the components' logs, for the message; without that of the component that ``error`` shows itself.

        To be had as long as the cluster's directory is there.
        """
        shown = error.details.get("component") if isinstance(error, ProvisionError) else None
        try:
            logs = self._want.provider.logs(self._place, _LOG_LINES)
        except Exception as unreadable:  # the logs explain an error; they must not replace it
            return f"\n(its logs could not be read: {unreadable})"
        return "".join(
            f"\n--- last lines of {name} ---\n{text}" for name, text in sorted(logs.items()) if text and name != shown
        )

    def failure(self, error: Exception, logs: str, *, gone: bool) -> ProvisionError:
        """What to raise for ``error`` once the cluster has been deleted, or (not ``gone``) could not be."""
        left = (
            "nothing is left of it" if gone else f"what is left of it in {self._place.directory} will be deleted later"
        )
        kind = type(error) if isinstance(error, ProvisionError) else ProvisionError
        details = error.details if isinstance(error, ProvisionError) else {}
        return kind(
            f"cluster {self._place.name} could not be made: {told(error)}\n{left}{logs}",
            next_step=getattr(error, "next_step", None) or "read the error and the logs above",
            **{"cluster": self._place.name, **details},
        )
