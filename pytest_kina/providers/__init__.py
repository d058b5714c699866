"""What a provider of clusters is, and how one is found by name.

A provider is judged by evidence, not by exit codes: ``create`` returns when the cluster has been proven ready, and
``delete`` when it has been proven gone. It knows nothing of slots, records or leases; the pool calls it while holding
the slot's lock, and passes a :class:`Place` that is nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.progress import Progress
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Stopwatch

GROUP = "pytest_kina.providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one cluster lives.

    ``name`` is also the name or label of the backend; it contains the slot's number and is never used again.
    ``directory`` exists (0700), is the cluster's own, and goes away after ``delete``. ``slot_lock`` is the lock file
    whose holder may change the cluster; ``tidy`` the command that tidies this slot, for those who watch it.
    """

    name: str
    directory: Path
    slot_lock: Path
    tidy: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """Name and version of a provider, and what its clusters can do."""

    name: str
    version: str
    capabilities: frozenset[str] = field(default_factory=frozenset)


@runtime_checkable
class Provider(Protocol):
    """Makes, checks, resets and deletes clusters of one kind. Every time-out is in seconds."""

    @property
    def info(self) -> ProviderInfo:
        """Who it is. Cheap; starts nothing."""

    def unavailable(self) -> str | None:
        """One sentence that says why it cannot run on this machine, or None."""

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Obtain all that a cluster of this spec needs (binaries, images), and return its identity.

        The identity enters the fingerprint: provider version, ``kubernetes`` (the resolved version, ``v1.36.3``),
        digests. Slow; called without any slot lock. Raises :class:`~pytest_kina.errors.KinaError`.
        """

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Make the cluster and prove it ready; leaves ``kubeconfig`` (0600) in the place's directory.

        Records ``create``, ``startup`` and ``kubectl_ready``. Raises
        :class:`~pytest_kina.errors.ProvisionError`; what is left then, ``delete`` removes.
        """

    def adopt(self, place: Place) -> None:
        """The cluster has been announced in a record: it no longer ends with the process that made it."""

    def check(self, place: Place) -> str | None:
        """One sentence that says why the cluster must not be handed out, or None. Takes milliseconds."""

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Bring the cluster back to what ``create`` left, with new credentials, and prove it. Raises like create.

        Records ``reset`` only.
        """

    def delete(self, place: Place) -> None:
        """Remove the backend and prove that it is gone; absent is success. Raises ProvisionError."""

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Names of all backends of this pool that exist now, whether a record names them or not."""

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """The last ``lines`` lines of each component's log; what cannot be had is missing."""


def find(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Provider:
    """The provider called ``name``: one of ours, an entry point of the group, or ``module:attribute``.

    The attribute is called with those of ``options`` that it has parameters for: ``root``, ``offline``, ``mirror``,
    ``assets`` of the run's settings; a process without settings gives none. Raises
    :class:`ProviderUnavailableError` when there is no such provider.
    """
    if ":" in name:
        return _load(name, name, options)
    found = {point.name: point.value for point in entry_points(group=GROUP)} | _OWN
    if name not in found:
        raise ProviderUnavailableError(
            f"there is no provider called {name!r}; known are {', '.join(sorted(found))}",
            next_step="choose one of these, or name a factory as module:attribute",
        )
    return _load(name, found[name], options)


_OWN = {"embedded": "pytest_kina.providers.embedded:EmbeddedProvider"}


def _load(name: str, target: str, options: Mapping[str, Any]) -> Provider:
    module, _, attribute = target.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
        accepted = signature(factory).parameters
        provider = factory(**{key: value for key, value in options.items() if key in accepted})
    except (ImportError, AttributeError) as error:
        raise ProviderUnavailableError(
            f"provider {name!r} could not be loaded from {target}: {error}",
            next_step="check that its distribution is installed (for embedded: pip install 'pytest-kina[embedded]')",
        ) from error
    if not isinstance(provider, Provider):
        missing = sorted(part for part in vars(Provider) if not part.startswith("_") and not hasattr(provider, part))
        raise ProviderUnavailableError(f"{target} is not a provider: it lacks {', '.join(missing)}")
    return provider
