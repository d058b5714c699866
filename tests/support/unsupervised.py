"""A provider whose clusters nobody watches: the pool's janitor looks after them."""

from __future__ import annotations

from dataclasses import replace

from pytest_kina.providers import ProviderInfo
from pytest_kina.testing import FakeProvider


class Unsupervised(FakeProvider):
    """The fake provider, telling the truth."""

    @property
    def info(self) -> ProviderInfo:
        """As the fake provider's, without a supervisor."""
        return replace(super().info, supervised=False)
