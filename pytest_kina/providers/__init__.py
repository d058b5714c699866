"""What a provider of clusters is, and how one is found by name.

A provider is judged by evidence, not by exit codes: ``create`` returns when the cluster has been proven ready, and
``delete`` when it has been proven gone. It knows nothing of slots, records or leases; the pool calls it while holding
the slot's lock, and passes a :class:`Place` that is nobody else's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from pytest_kina.capabilities import CAPABILITIES
from pytest_kina.errors import ProviderUnavailableError, ProvisionError
from pytest_kina.files import peek_json
from pytest_kina.progress import Progress, silent
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
    """Name and version of a provider, and what its clusters can do (:data:`pytest_kina.capabilities.CAPABILITIES`).

    ``supervised``: each cluster has a process that runs :attr:`Place.tidy`; the pool's janitor looks after the others.
    """

    name: str
    version: str
    capabilities: frozenset[str] = field(default_factory=frozenset)
    supervised: bool = False


@runtime_checkable
class Provider(Protocol):
    """Makes, checks, resets and deletes clusters of one kind. Every time-out is in seconds."""

    @property
    def info(self) -> ProviderInfo:
        """Who it is. Cheap; starts nothing."""

    def unavailable(self) -> str | None:
        """One sentence that says why it cannot run on this machine, or None."""

    def validate(self, spec: ClusterSpec) -> None:
        """Refuse a spec that no cluster of this provider can fulfil, on whichever machine.

        Called once per spec when tests have been collected: cheap, and without programs or network; of files only those
        that spec and settings name are looked at. What else is needed is left to :meth:`prepare`. Raises
        :class:`~pytest_kina.errors.SpecError` that names the key, and what is allowed.
        """

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Obtain all that a cluster of this spec needs (binaries, images), and return its identity.

        The identity enters the fingerprint: ``provider_version``, ``kubernetes`` (the resolved version, ``v1.36.3``),
        digests, and where there is one ``runtime``, what runs the containers or machines (``docker 29.1.0``): timings
        under another runtime are not comparable. Slow; called without any slot lock.
        Raises :class:`~pytest_kina.errors.KinaError`.
        """

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Make the cluster and prove it ready; leaves ``kubeconfig`` (0600) in the place's directory.

        Records ``create``, ``startup`` and ``kubectl_ready``, and amends the stopwatch's ``start`` when the cluster is
        not a ``fresh`` one, but made of a ``template``. Raises
        :class:`~pytest_kina.errors.ProvisionError`; what is left then, ``delete`` removes.
        """

    def adopt(self, place: Place) -> None:
        """The cluster has been announced in a record: it no longer ends with the process that made it."""

    def check(self, place: Place) -> str | None:
        """One sentence that says why the cluster must not be handed out, or None. Takes milliseconds."""

    def delete(self, place: Place) -> None:
        """Remove the backend and prove that it is gone; absent is success. Raises ProvisionError."""

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Names of all backends of this pool that exist now, whether a record names them or not."""

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """The last ``lines`` lines of each component's log; what cannot be had is missing."""


class CannotReset(ProvisionError):
    """A reset that has not begun, because it would be in vain here: the pool deletes the cluster at once."""


@runtime_checkable
class Resets(Protocol):
    """What a provider with the capability ``reset`` has besides. Without it a cluster is used once, then deleted."""

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Bring the cluster back to what ``create`` left, with new credentials, and prove it. Raises like create.

        Raises :class:`CannotReset` instead when it is known beforehand that neither this nor the next attempt can work.

        Records ``reset`` only.
        """


@runtime_checkable
class KeepsTemplates(Protocol):
    """What a provider has besides whose clusters start from a template of the first one, ``start="template"``."""

    def forget_template(self, spec: ClusterSpec) -> None:
        """Let the next cluster of ``spec`` be made without a template; it leaves a new one."""


@runtime_checkable
class LoadsImages(Protocol):
    """What a provider with the capability ``images`` has besides."""

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Load the image archive (an OCI or Docker layout in a tar file) into every node, and prove that it is there.

        Loading the same archive again is quick and succeeds. Raises :class:`~pytest_kina.errors.ProvisionError`.
        """


@runtime_checkable
class SavesImages(Protocol):
    """What a provider has that finds images of this machine by their names, as the engine that it works with does."""

    def save_image(self, image: str, progress: Progress = silent) -> Path:
        """The archive of an image; pulled if it is not there, saved once per content, and kept for later runs.

        Raises :class:`~pytest_kina.errors.ProvisionError` when there is no such image, and none can be pulled.
        """


_OPTIONAL: Mapping[str, type] = {"reset": Resets, "images": LoadsImages}
"""What a capability obliges a provider to have."""


def own_prefix(clusters: Path) -> str:
    """What the names of this pool's clusters begin with; empty when the pool, beside ``clusters``, has no name yet."""
    pool = (peek_json(clusters.parent / "pool.json", sys.maxsize) or {}).get("id")
    return f"kina-{pool}-" if pool else ""


def measured_with(provider: Provider, identity: Mapping[str, str]) -> dict[str, str]:
    """What timing events say about the provider of a cluster with this ``identity``."""
    info = provider.info
    version = identity.get("provider_version") or info.version
    return {"provider": info.name, "provider_version": version, "runtime": identity.get("runtime", "")}


def find(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Provider:
    """The provider called ``name``: one of ours, an entry point of the group, or ``module:attribute``.

    The attribute is called with those of ``options`` that it has parameters for: ``root``, ``offline``, ``mirror``,
    ``image_mirrors``, ``assets``, ``kubeconfig``, ``context``, ``allow_context`` and ``reset`` of the run's settings; a
    process without settings gives none. Raises :class:`ProviderUnavailableError` when there is no such provider.
    """
    if ":" in name:
        return _load(name, name, options)
    found = _targets()
    if name not in found:
        raise ProviderUnavailableError(
            f"there is no provider called {name!r}; known are {', '.join(sorted(found))}",
            next_step="choose one of these, or name a factory as module:attribute",
        )
    return _load(name, found[name], options)


def usable(provider: Provider, name: str, flag: str) -> Provider:
    """``provider`` itself, when it can run here. Raises :class:`ProviderUnavailableError`; ``flag`` chooses others."""
    if why := provider.unavailable():
        raise ProviderUnavailableError(
            f"provider {name!r} cannot run here: {why}", next_step=f"install what is missing, or use {flag}"
        )
    return provider


def names() -> list[str]:
    """The names of all providers that are installed here, ours and those of the entry point group."""
    return sorted(_targets())


def _targets() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)} | _OWN


_OWN = {
    "embedded": "pytest_kina.providers.embedded:EmbeddedProvider",
    "apple_k8s": "pytest_kina.providers.apple_k8s:AppleK8sProvider",
    "external": "pytest_kina.providers.external:ExternalProvider",
    "kina": "pytest_kina.providers.kina:KinaProvider",
    "kind": "pytest_kina.providers.kind:KindProvider",
    "k3d": "pytest_kina.providers.k3d:K3dProvider",
}


def _load(name: str, target: str, options: Mapping[str, Any]) -> Provider:
    module, _, attribute = target.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
        accepted = signature(factory).parameters
        provider = factory(**{key: value for key, value in options.items() if key in accepted})
    except Exception as error:  # it may be anybody's module, with anything wrong in it
        raise ProviderUnavailableError(
            f"provider {name!r} could not be loaded from {target}: {type(error).__name__}: {error}",
            next_step="install it (embedded: pip install 'pytest-kina[embedded]'), or set PYTHONPATH for all processes",
        ) from error
    if not isinstance(provider, Provider):
        missing = sorted(part for part in vars(Provider) if not part.startswith("_") and not hasattr(provider, part))
        raise ProviderUnavailableError(f"{target} is not a provider: it lacks {', '.join(missing)}")
    _refuse_false_claims(provider, target)
    return provider


def _refuse_false_claims(provider: Provider, target: str) -> None:
    claimed = provider.info.capabilities
    if unknown := sorted(claimed - set(CAPABILITIES)):
        raise ProviderUnavailableError(
            f"{target} claims capabilities that do not exist: {', '.join(unknown)}",
            next_step=f"known are {', '.join(CAPABILITIES)}",
        )
    for capability, kind in _OPTIONAL.items():
        if capability in claimed and not isinstance(provider, kind):
            methods = ", ".join(part for part in vars(kind) if not part.startswith("_"))
            raise ProviderUnavailableError(
                f"{target} claims the capability {capability!r}, but has no {methods}",
                next_step="write the method, or do not claim the capability",
            )
