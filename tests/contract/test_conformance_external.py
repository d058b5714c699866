"""The external provider does what every provider must, in a real cluster that it did not make."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.providers import Provider
from pytest_kina.providers.external import ExternalProvider
from pytest_kina.testing import ProviderConformance


@pytest.mark.real_control_plane
class TestExternal(ProviderConformance):
    """All of the suite."""

    timeout = 60.0

    @pytest.fixture(autouse=True)
    def guest(self, existing_cluster: Cluster) -> None:
        """What the user would name."""
        name = existing_cluster.name
        self.named: Any = {"kubeconfig": existing_cluster.kubeconfig, "context": name, "allow_context": "kina-*"}

    def provider(self) -> Provider:
        """A guest of the existing cluster."""
        return ExternalProvider(**self.named)
