"""What exists: families of components, the releases that are known to work together, and version requests.

A *family* is built, published and versioned as one: the three servers of Kubernetes, ``kubectl``, etcd with
``etcdutl``, and kwok. A source must supply all requested components of a family in one version, because a
controller-manager must never be newer than its API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_kina.errors import BinaryError

SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
FAMILIES = {
    "kubernetes": SERVERS,
    "kubectl": ("kubectl",),
    "etcd": ("etcd", "etcdutl"),
    "kwok": ("kwok",),
}
FAMILY_OF = {component: family for family, components in FAMILIES.items() for component in components}
DEFAULT_COMPONENTS = ("etcd", "etcdutl", *SERVERS, "kwok")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A released version; orders by number."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"

    @property
    def number(self) -> str:
        """The version without a ``v``, as Go and pip write it."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def series(self) -> str:
        """Major and minor, ``1.36``."""
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version in ``v1.36.3`` or ``1.36.3``. Raises :class:`ValueError` for anything else."""
        match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
        if not match:
            raise ValueError(f"not a released version: {text!r}")
        return cls(*map(int, match.groups()))


# Newest patch of each minor that has been built and run with this package.
_KUBERNETES = {"1.34": Version(1, 34, 4), "1.35": Version(1, 35, 4), "1.36": Version(1, 36, 3)}
_ETCD = Version(3, 6, 16)
_KWOK = Version(0, 8, 0)

# The oldest that understand our flags; only for binaries that the user already has.
_OLDEST = {"etcd": Version(3, 5, 0), "kwok": Version(0, 6, 0)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One family in the version that a request asks for.

    ``target`` is what we would obtain ourselves: None while the sources have not been asked for the newest patch of
    a minor that the table does not have. ``exact`` means that the user named the patch.
    """

    family: str
    components: tuple[str, ...]
    series: str
    target: Version | None
    exact: bool

    @property
    def label(self) -> str:
        """Family and version for people: ``kubernetes v1.36.3``."""
        return f"{self.family} {self.target or 'v' + self.series}"

    @property
    def headline(self) -> str:
        """The first line of an error when nobody had it: for a version that the table lacks, what there is."""
        if self.family not in ("kubernetes", "kubectl") or self.target in _KUBERNETES.values():
            return ""
        return f"{unheard_of(self.target.number if self.target else self.series)}\n"

    def refusal(self, version: Version) -> str | None:
        """Why a binary that somebody else chose, of ``version``, must not be used; None when it may be."""
        if self.family in _OLDEST:
            oldest = _OLDEST[self.family]
            return None if version >= oldest else f"has {version}, expected {oldest} or newer"
        if self.family == "kubectl":
            near = abs(version.minor - int(self.series.split(".")[1])) <= 1
            return None if near else f"has {version}, expected {self.series} or one minor next to it"
        if self.exact:
            return None if version == self.target else f"has {version}, expected {self.target}"
        return None if version.series == self.series else f"has {version}, expected {self.series}"


def want(version: str, components: Iterable[str]) -> list[Wanted]:
    """The families that ``components`` belong to, in the versions that go with Kubernetes ``version``.

    ``version`` is a minor (``1.36``) or a patch (``1.36.3``, ``v1.36.3``). Raises :class:`BinaryError` when it is
    neither, or a component is unknown.
    """
    match = re.fullmatch(r"v?(\d+\.\d+)(\.\d+)?", version.strip())
    if not match:
        raise BinaryError(
            f"Kubernetes version {version!r} is not understood; expected a minor like 1.36 or a patch like 1.36.3",
            next_step=f"choose one of {', '.join(_KUBERNETES)}, or any released patch",
        )
    series, exact = match[1], match[2] is not None
    if not series.startswith("1."):
        raise BinaryError(
            unheard_of(version), next_step="choose a known version, or any released patch of Kubernetes 1"
        )
    kubernetes = Version.parse(version) if exact else _KUBERNETES.get(series)
    targets = {"kubernetes": kubernetes, "kubectl": kubernetes, "etcd": _ETCD, "kwok": _KWOK}
    grouped: dict[str, list[str]] = {}
    for component in dict.fromkeys(components):
        grouped.setdefault(_family(component), []).append(component)
    return [
        Wanted(family, tuple(members), series, targets[family], exact and family in ("kubernetes", "kubectl"))
        for family, members in grouped.items()
    ]


def known() -> dict[str, Version]:
    """The table: the newest known good Kubernetes patch of each minor."""
    return dict(_KUBERNETES)


def unheard_of(version: str) -> str:
    """One sentence that says that nobody has Kubernetes ``version``, and what there is: ``1.36 (v1.36.3)``."""
    table = ", ".join(f"{series} ({patch})" for series, patch in _KUBERNETES.items())
    return f"no source has Kubernetes {version.strip().removeprefix('v')}; known: {table}"


def current_targets() -> dict[str, set[Version]]:
    """Per family, the versions that a request for a minor of the table leads to."""
    kubernetes = set(_KUBERNETES.values())
    return {"kubernetes": kubernetes, "kubectl": kubernetes, "etcd": {_ETCD}, "kwok": {_KWOK}}


def _family(component: str) -> str:
    if component not in FAMILY_OF:
        raise BinaryError(
            f"there is no component called {component!r}",
            next_step=f"choose from {', '.join(FAMILY_OF)}",
        )
    return FAMILY_OF[component]
