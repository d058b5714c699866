"""Each event counts once, whichever way it came."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kina.report.merge import Ledger, plain
from pytest_kina.timing import Phase, TimingEvent

Make = Callable[..., TimingEvent]


def test_an_event_that_comes_by_three_ways_counts_once(make: Make) -> None:
    """Report, worker's output and spool bring the same ids, and the ledger keeps one event for each."""
    events = [make(), make(Phase.DELETE)]
    ledger = Ledger()
    ledger.add_documents(plain(events))
    ledger.add_documents(plain(events[1:]))
    ledger.add(events)
    assert ledger.events == events
    assert all(event in ledger for event in events)


def test_events_are_ordered_by_their_beginning_whatever_came_first(make: Make) -> None:
    """A spool that is read last does not move its events to the end."""
    first, second, third = make(), make(), make()
    ledger = Ledger()
    ledger.add([third])
    ledger.add([first, second])
    assert ledger.events == [first, second, third]


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        "text",
        {"phase": "create"},
        [None, 3, "x", []],
        [{}],
        [{"schema": 1, "id": "a", "run": "r", "phase": "lunch", "seconds": 1.0}],
        [{"schema": 1, "id": "a", "run": "r", "phase": "create", "seconds": -1.0}],
        [{"schema": 1, "id": "a", "run": "r", "phase": "create", "seconds": "soon"}],
        [{"schema": 99, "id": "a", "run": "r", "phase": "create", "seconds": 1.0}],
        [{"schema": "1", "id": "a", "run": "r", "phase": "create", "seconds": 1.0}],
    ],
)
def test_what_is_no_event_is_left_out(foreign: object, make: Make) -> None:
    """Another plugin's attribute of the same name, or a newer version's event, harms nobody."""
    known = make()
    ledger = Ledger()
    ledger.add([known])
    ledger.add_documents(foreign)
    assert ledger.events == [known]


def test_a_bad_event_does_not_hide_its_neighbours(make: Make) -> None:
    """Good events before and after a bad one are taken."""
    good = plain([make(), make()])
    ledger = Ledger()
    ledger.add_documents([good[0], {"schema": 1}, good[1]])
    assert [event.id for event in ledger.events] == [document["id"] for document in good]


def _only_json_types(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _only_json_types(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(_only_json_types, value))
    return type(value) in (str, int, float, bool, type(None))


def test_plain_events_hold_builtin_types_only_even_for_a_path(make: Make) -> None:
    """A path, a tuple or an enumeration in an attribute becomes text or a list; execnet would end the session."""
    events = [make(cluster=Path("x"), nodes=(1, 2), error=Phase.CREATE)]
    documents = plain(events)
    assert _only_json_types(documents)
    assert documents[0]["cluster"] == "x"


@given(
    st.lists(
        st.builds(
            TimingEvent,
            id=st.text(min_size=1),
            run=st.text(),
            phase=st.sampled_from(Phase),
            seconds=st.floats(min_value=0, allow_infinity=False, allow_nan=False),
            t0=st.floats(allow_infinity=False, allow_nan=False),
            nodeid=st.text(),
            nodes=st.integers(),
            ok=st.booleans(),
        ),
        unique_by=lambda event: event.id,
    )
)
def test_plain_events_come_back_unchanged(events: list[TimingEvent]) -> None:
    """Every event survives the way to the controller, in whatever text a node id may hold."""
    ledger = Ledger()
    ledger.add_documents(json.loads(json.dumps(plain(events))))
    assert {event.id: event for event in ledger.events} == {event.id: event for event in events}
