"""Two measurings side by side."""

from __future__ import annotations

import pytest

from pytest_kina.gate import compare, comparison_lines
from pytest_kina.gate.comparing import INTERLEAVED
from tests.support.gate_runs import around, measurements, name, series


def test_twice_the_time_is_slower_with_ratio_and_interval() -> None:
    """Both medians, the ratio, its interval and the p value are there."""
    found = compare(measurements(series("create", *around(1.0))), measurements(series("create", *around(2.0))))
    (pair,) = found.pairs
    assert found.slower
    assert pair.slower
    assert pair.interval.ratio == pytest.approx(2.0, rel=0.01)
    assert 1.8 < pair.interval.low < 2.0 < pair.interval.high < 2.2
    assert pair.p < 0.01
    text = comparison_lines(found)
    assert "1.00 s" in text[1]
    assert "2.00 s" in text[1]
    assert "+100 %" in text[1]
    assert f"slower: {name('create')}" in text


@pytest.mark.parametrize(("ratio", "expected"), [(1.5, False), (INTERLEAVED, True)])
def test_a_fifth_slower_shows_between_interleaved_runs_only(ratio: float, expected: bool) -> None:
    """Single runs differ by that much by chance; runs in turns do not."""
    base, head = measurements(series("create", *around(1.0))), measurements(series("create", *around(1.25)))
    assert compare(base, head, ratio=ratio).slower is expected


@pytest.mark.parametrize(
    ("base", "head"),
    [
        (around(0.010), around(0.030)),
        (around(1.0, 2), around(3.0, 2)),
        ((1.0, 1.0, 1.0, 9.0, 9.0), (1.0, 2.0, 2.0, 2.0, 9.0)),
    ],
    ids=["below the floor", "too few", "not significant"],
)
def test_each_condition_alone_keeps_a_pair_from_being_slower(base: tuple[float, ...], head: tuple[float, ...]) -> None:
    """Floor, number of samples and significance count, too."""
    found = compare(measurements(series("create", *base)), measurements(series("create", *head)))
    assert not found.slower


def test_faster_is_not_slower() -> None:
    """Only one direction fails."""
    found = compare(measurements(series("create", *around(3.0))), measurements(series("create", *around(1.0))))
    assert not found.slower


def test_two_machines_are_shown_and_never_judged() -> None:
    """Other hardware is no regression."""
    base = measurements(series("create", *around(1.0)))
    found = compare(base, measurements(series("create", *around(9.0)), machine="other"))
    assert len(found.pairs) == 1
    assert not found.slower
    assert "nothing is called slower" in found.notes[0]


def test_two_versions_and_two_providers_are_matched_by_the_rest() -> None:
    """Series that differ in provider or Kubernetes version only are put side by side."""
    other = series("create", *around(2.0), provider="kind", kubernetes="1.35")
    renamed = measurements(type(other)(**{key: getattr(other, key) for key in other.__slots__} | {"fullname": "x"}))
    (pair,) = compare(measurements(series("create", *around(1.0))), renamed).pairs
    assert pair.label == "create[api-n0-fresh-c1] embedded 1.36 / kind 1.35"


def test_what_only_one_side_has_is_named() -> None:
    """Nothing vanishes from the comparison."""
    found = compare(measurements(series("create"), series("reset")), measurements(series("create"), series("delete")))
    assert (found.only_base, found.only_head) == ((name("reset"),), (name("delete"),))
    text = comparison_lines(found)
    assert f"only in A: {name('reset')}" in text
    assert f"only in B: {name('delete')}" in text


def test_several_of_a_kind_are_not_guessed_at() -> None:
    """Where nobody knows which belong together, nothing is put together."""
    one, other, third = (
        type(part)(**{key: getattr(part, key) for key in part.__slots__} | {"fullname": label})
        for part, label in ((series(), "a"), (series(), "b"), (series(), "c"))
    )
    found = compare(measurements(one, other), measurements(third))
    assert found.pairs == ()
    assert comparison_lines(found)[0] == "no series is on both sides"
    assert (found.only_base, found.only_head) == (("a", "b"), ("c",))


def test_incomplete_runs_are_compared_with_a_note() -> None:
    """What is there can be looked at."""
    found = compare(measurements(series()), measurements(series(), incomplete=("gw0 died",)))
    assert len(found.pairs) == 1
    assert found.notes == ("B is incomplete: gw0 died",)


def test_a_hundred_thousand_samples_per_side_can_be_compared() -> None:
    """Nothing grows with the product of both sides."""
    base = tuple(1.0 + at / 1e6 for at in range(100_000))
    found = compare(measurements(series("create", *base)), measurements(series("create", *(2 * one for one in base))))
    assert found.slower
    assert found.pairs[0].interval.ratio == pytest.approx(2.0, rel=0.01)
