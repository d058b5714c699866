"""Names of test namespaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_kina.cluster import namespace_name


@given(st.text())
@example("tests/test_a.py::TestB::test_c[x/y-Ä%]")
@example("a" * 300)
@example("[]")
@example("-" * 54 + "a")
def test_every_test_id_becomes_a_dns_label(test_id: str) -> None:
    """At most 63 characters of a-z, 0-9 and -, with an alphanumeric first and last, whatever the id holds."""
    name = namespace_name(test_id)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert re.fullmatch(r".*-[0-9a-f]{8}", name)


@pytest.mark.parametrize(
    ("test_id", "readable"),
    [
        ("tests/test_a.py::test_rollout", "test-rollout"),
        ("tests/test_a.py::TestWeb::test_rollout[1.36-a::b]", "test-rollout-1-36-a-b"),
        ("tests/test_a.py::test_grün[ÄÖ]", "test-grun-ao"),
        ("???", "test"),
        ("web", "web"),
    ],
)
def test_name_begins_with_the_test_s_own_name(test_id: str, readable: str) -> None:
    """File and class are left out; parameters stay, as far as they can be spelt."""
    assert namespace_name(test_id)[:-9] == readable


def test_equal_ids_get_different_names() -> None:
    """Two xdist workers that run the same test id never meet."""
    assert len({namespace_name("test_a") for _ in range(200)}) == 200
