"""What a test asks the pool for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pytest_kina.capabilities import refuse_unable
from pytest_kina.cluster import content
from pytest_kina.progress import Progress
from pytest_kina.providers import Provider
from pytest_kina.spec import ClusterSpec, Isolation, fingerprint


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

    @classmethod
    def prepared(cls, spec: ClusterSpec, provider_name: str, provider: Provider, progress: Progress) -> Self:
        """A want with everything at hand that making the cluster needs. Raises what the provider's ``prepare`` does.

        Also raises :class:`~pytest_kina.errors.SpecError` when the provider does not claim what the spec asks for.
        """
        refuse_unable(provider_name, provider.info.capabilities, spec)
        content.check(spec)
        identity = {**content.identity(spec), **provider.prepare(spec, progress)}
        key = fingerprint(spec, provider.info.name, identity)
        return cls(spec=spec, provider_name=provider_name, provider=provider, identity=identity, fingerprint=key)

    @property
    def shared(self) -> bool:
        """Whether the processes of the run use one cluster together."""
        return self.isolation is Isolation.NAMESPACE
