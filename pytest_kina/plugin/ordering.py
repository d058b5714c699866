"""The order of tests: those that need the same clusters run together, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from pytest_kina.plugin.lobby import MARK

_T = TypeVar("_T")


def grouped(items: Sequence[_T], request_of: Callable[[_T], Hashable | None]) -> list[_T]:
    """``items`` with equal requests brought together, in order of first appearance.

    An item without a request (None) stays behind its predecessor, so a sequence with one request keeps its order.
    """
    groups: dict[Hashable | None, list[_T]] = {}
    current: Hashable | None = None
    for item in items:
        current = request_of(item) or current
        groups.setdefault(current, []).append(item)
    return [item for group in groups.values() for item in group]


@contextmanager
def hidden_parameter(items: Sequence[pytest.Item]) -> Iterator[None]:
    """Keep pytest from reordering by our parameter.

    pytest pulls all tests of one session-scoped parameter together, past tests without it and across modules, whose
    fixtures would then be set up twice; and before 9.2 it compares parameters by index, not by value.
    """
    calls = [item.callspec for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    # pytest 9.2 reads one of these, older ones the other.
    tables: list[dict[str, Any]] = [table for call in calls for table in (call.params, call.indices) if MARK in table]
    taken = [(table, table.pop(MARK)) for table in tables]
    try:
        yield
    finally:
        for table, value in taken:
            table[MARK] = value
