"""What is refused before anybody asks the pool for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kina.cluster import content
from pytest_kina.errors import SpecError
from pytest_kina.pool import Want
from pytest_kina.progress import silent
from pytest_kina.providers import ProviderInfo
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import FakeProvider


class Modest(FakeProvider):
    """Claims nothing, and counts what it is asked to prepare."""

    prepared = 0

    @property
    def info(self) -> ProviderInfo:
        """The fake's, without a capability."""
        return replace(super().info, capabilities=frozenset())

    def prepare(self, spec: ClusterSpec, progress: object) -> dict[str, str]:
        """Nothing to do."""
        Modest.prepared += 1
        return {}


def test_what_the_provider_does_not_claim_is_no_want() -> None:
    """It is refused by name, before the provider prepares anything for it."""
    with pytest.raises(SpecError, match="'modest' cannot do "):
        Want.prepared(ClusterSpec(workers=2), "modest", Modest(), silent)
    assert Modest.prepared == 0
    assert Want.prepared(ClusterSpec(), "modest", Modest(), silent).provider_name == "modest"


def test_content_that_cannot_be_installed_is_no_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be seen to be wrong without a cluster is seen before one is made."""
    refused = SpecError("the chart is no chart", next_step="mend it")

    def refuse(spec: ClusterSpec) -> None:
        raise refused

    monkeypatch.setattr(content, "check", refuse)
    with pytest.raises(SpecError) as caught:
        Want.prepared(ClusterSpec(), "fake", FakeProvider(), silent)
    assert caught.value is refused
