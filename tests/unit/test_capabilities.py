"""What specs ask of providers."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kina.capabilities import CAPABILITIES, implied, refuse_unable
from pytest_kina.errors import SpecError
from pytest_kina.spec import ClusterSpec, Isolation

IMPLYING: dict[str, dict[str, Any]] = {
    "images": {"images": ("app:test",)},
    "multi-node": {"workers": 1},
    "resources": {"memory_mib": 512},
    "simulated-nodes": {"simulated_nodes": 2},
    "profiles": {"profile": "api"},
    "content": {"crds": ("/crds",)},
    "feature-gates": {"feature_gates": (("A", False),)},
    "api-server-args": {"api_server_args": (("v", "2"),)},
}


def test_the_default_asks_for_nothing() -> None:
    """Every provider can make the default cluster."""
    assert implied(ClusterSpec()) == frozenset()


@pytest.mark.parametrize(("capability", "keys"), IMPLYING.items())
def test_a_key_implies_its_capability(capability: str, keys: dict[str, Any]) -> None:
    """Who does not claim it refuses the spec, and says what it means; who claims it does not."""
    assert implied(ClusterSpec(**keys)) == {capability}
    with pytest.raises(SpecError, match=f"'kind' cannot do .*\\n  {capability}: "):
        refuse_unable("kind", set(CAPABILITIES) - {capability}, ClusterSpec(**keys))
    refuse_unable("kind", {capability}, ClusterSpec(**keys))


def test_isolation_is_a_capability() -> None:
    """A cluster that others use too can be nobody's alone."""
    for isolation in (Isolation.EXCLUSIVE, Isolation.FRESH):
        assert implied(ClusterSpec(), isolation) == {"isolation"}


def test_needs_are_asked_for_as_well() -> None:
    """All that is missing is named at once."""
    spec = ClusterSpec(needs=("loadbalancer", "pods"), workers=1)
    with pytest.raises(SpecError) as caught:
        refuse_unable("embedded", {"pods"}, spec)
    assert [line.split(":")[0].strip() for line in caught.value.message.splitlines()[1:]] == [
        "loadbalancer",
        "multi-node",
    ]
