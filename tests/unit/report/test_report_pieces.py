"""JSON text in pieces: the same values as in one go, without the memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kina.report.benchmark_json import write_benchmarks
from pytest_kina.report.pieces import pieces
from pytest_kina.report.summary import RunTimings, write_summary
from pytest_kina.timing import TimingEvent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_the_pieces_mean_what_was_given(value: object) -> None:
    """Joined they are JSON with the same values, whatever is nested in what."""
    assert json.loads(b"".join(pieces(value))) == value


@given(st.lists(VALUES))
def test_an_iterator_becomes_an_array_with_a_line_per_element(values: list[object]) -> None:
    """Elements are made one by one, and line tools can count them."""
    text = b"".join(pieces({"all": iter(values)}))
    assert json.loads(text) == {"all": values}
    assert text.count(b"\n") == len(values) + 3


def test_a_number_that_json_does_not_have_is_refused() -> None:
    """NaN would be read back by Python only."""
    with pytest.raises(ValueError, match="JSON"):
        b"".join(pieces({"seconds": iter([float("nan")])}))


def test_what_has_no_json_type_becomes_its_text(tmp_path: Path) -> None:
    """An attribute that somebody set to a path must not cost the whole document."""
    assert json.loads(b"".join(pieces(iter([{"where": tmp_path}])))) == [{"where": str(tmp_path)}]


@pytest.mark.parametrize("write", ["benchmarks", "summary"])
def test_writing_many_events_takes_a_fraction_of_their_text(
    write: str, make: Callable[..., TimingEvent], tmp_path: Path
) -> None:
    """The documents of a run are never in memory as a whole."""
    timings = RunTimings(run="r", events=[make(seconds=1.0) for _ in range(20_000)])
    path = tmp_path / "summary.json"
    tracemalloc.start()
    try:
        write_summary(tmp_path, timings) if write == "summary" else write_benchmarks(path, timings, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(json.loads(path.read_text())["kina" if write == "benchmarks" else "events"]) > 0
    assert peak < path.stat().st_size / 2
