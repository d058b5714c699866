"""The embedded provider does what every provider must, with real processes."""

from __future__ import annotations

import pytest

from pytest_kina.providers import Provider
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import ProviderConformance


class EmbeddedSuite(ProviderConformance):
    """Examines :class:`EmbeddedProvider`."""

    timeout = 120.0

    def provider(self) -> Provider:
        """One that has obtained nothing yet."""
        return EmbeddedProvider()


@pytest.mark.real_control_plane
class TestApi(EmbeddedSuite):
    """All of the suite in the profile ``api``."""

    spec = ClusterSpec(profile="api", simulated_nodes=0)
