"""Timing events that come by several ways, each counted once.

An event of an xdist worker reaches the controller on a report, in the worker's last message, and in the worker's
spool file; a worker that dies loses the first two. The event's id tells that it is the same one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from operator import attrgetter

from pytest_kina.timing import SCHEMA, TimingEvent

_log = logging.getLogger(__name__)


class Ledger:
    """The events of one run, each once, whichever way and however often they came."""

    def __init__(self) -> None:
        self._events: dict[str, TimingEvent] = {}

    def __contains__(self, event: TimingEvent) -> bool:
        return event.id in self._events

    def add(self, events: Iterable[TimingEvent]) -> None:
        """Take in events; those that are known already change nothing."""
        for event in events:
            self._events.setdefault(event.id, event)

    def add_documents(self, documents: object) -> None:
        """Take in events as :func:`plain` made them; what is no event, or a newer kind of event, is left out."""
        for document in documents if isinstance(documents, list) else []:
            if event := _parse(document):
                self.add([event])

    @property
    def events(self) -> list[TimingEvent]:
        """All events, in the order in which their phases began."""
        found = sorted(self._events.values(), key=attrgetter("id"))  # in two steps: no tuple per event
        found.sort(key=attrgetter("t0"))
        return found


def plain(events: Iterable[TimingEvent]) -> list[dict[str, object]]:
    """The events as plain JSON types, whatever somebody put into an attribute.

    One ``Path`` on a report, or in a worker's output, ends a whole xdist session: execnet carries builtin types only.
    """
    documents = json.loads(json.dumps([event.to_json() for event in events], default=str))
    return list(documents)


def _parse(document: object) -> TimingEvent | None:
    try:
        if isinstance(document, dict) and document["schema"] <= SCHEMA:
            return TimingEvent.from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        _log.debug("not a timing event (%s): %r", error, document)
    return None
