"""Events of an imaginary run, for the tests of what is made of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from pytest_kina.timing import Phase, TimingEvent

Make = Callable[..., TimingEvent]


@pytest.fixture
def make() -> Make:
    """Makes events that differ in their id and beginning only, unless told otherwise."""
    numbers = itertools.count(1)

    def event(phase: Phase = Phase.CREATE, seconds: float = 1.0, **attributes: Any) -> TimingEvent:
        number = next(numbers)
        known = {
            "id": f"run-gw0-1-{number}",
            "run": "run",
            "t0": float(number),
            "cluster": "kina-1-0-aa",
            "provider": "embedded",
            "provider_version": "0.1.0",
            "kubernetes": "v1.36.3",
            "profile": "workloads",
            "nodes": 1,
        }
        return TimingEvent(phase=phase, seconds=seconds, **(known | attributes))

    return event
