"""What a test asks the pool for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_kina.providers import Provider
from pytest_kina.spec import ClusterSpec, Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One cluster that is asked for; everything about it has been prepared.

    ``provider_name`` is what :func:`pytest_kina.providers.find` needs to find ``provider`` again in another process.
    ``identity`` is what the provider's ``prepare`` returned; ``fingerprint`` decides which cluster may be reused.
    """

    spec: ClusterSpec
    provider_name: str
    provider: Provider
    identity: Mapping[str, str]
    fingerprint: str
    isolation: Isolation = Isolation.NAMESPACE

    @property
    def shared(self) -> bool:
        """Whether the processes of the run use one cluster together."""
        return self.isolation is Isolation.NAMESPACE
