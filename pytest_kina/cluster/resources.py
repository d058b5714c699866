"""What an API server serves, and which type a user means by ``deploy``, ``Deployment`` or ``deployments.apps``.

The types come from aggregated discovery (Kubernetes 1.27 and later), which takes two requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_kina.cluster.api import Api
from pytest_kina.errors import ApiError, NotFound

_ACCEPT = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """One type in one version, as the server serves it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: frozenset[str]
    verbs: frozenset[str]
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As in a manifest: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As in ``kubectl get``: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def built_in(self) -> bool:
        """True for the types of Kubernetes itself: their groups have no dot, or end in ``.k8s.io``."""
        return "." not in self.group or self.group.endswith(".k8s.io")

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of an object or (without ``name``) of a collection; without ``namespace``, over all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = ("namespaces", namespace) if self.namespaced and namespace else ()
        return "/".join(part for part in (root, *scope, self.plural, name, subresource) if part)

    def answers_to(self, word: str) -> bool:
        """True when ``word`` (lower case) is one of its names, with or without the group."""
        name, _, group = word.partition(".")
        return name in {self.plural, self.singular, self.kind.lower()} and group in {"", self.group}


class Discovery:
    """The types that one API server serves; asked once, and again when a type is missing."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._types: tuple[ResourceType, ...] = ()

    def types(self) -> tuple[ResourceType, ...]:
        """All types in all versions; within a group the preferred version comes first. Raises ApiError."""
        if not self._types:
            self.refresh()
        return self._types

    def refresh(self) -> None:
        """Ask the server again. Raises ApiError."""
        self._types = tuple(kind for root in ("/api", "/apis") for kind in self._ask(root))

    def find(self, word: str, api_version: str | None = None) -> ResourceType:
        """The type that answers to ``word``: plural, singular, kind or short name, optionally with ``.group``.

        Types of Kubernetes win over custom ones. Raises :class:`NotFound` when there is none, and
        :class:`ApiError` when several custom groups have one.
        """
        found = self._look(word, api_version)
        if not found:
            self.refresh()
            found = self._look(word, api_version)
        if not found:
            raise self._unknown(word, api_version)
        groups = {kind.group: kind for kind in reversed(found)}
        if len(groups) > 1 and not found[0].built_in:
            names = ", ".join(sorted(kind.full_name for kind in groups.values()))
            raise ApiError(f"{word!r} could be any of {names}", next_step="say which one, with its group")
        return found[0]

    def of(self, api_version: str, kind: str) -> ResourceType | None:
        """The type of a manifest; None when it is not served."""
        for attempt in ("known", "asked again"):
            for candidate in self.types():
                if (candidate.api_version, candidate.kind) == (api_version, kind):
                    return candidate
            if attempt == "known":
                self.refresh()
        return None

    def _look(self, word: str, api_version: str | None) -> list[ResourceType]:
        name = word.lower()
        served = [kind for kind in self.types() if api_version in {None, kind.api_version}]
        found = [kind for kind in served if kind.answers_to(name)] or [
            kind for kind in served if name in kind.short_names
        ]
        return sorted(found, key=lambda kind: not kind.built_in)

    def _ask(self, root: str) -> Iterator[ResourceType]:
        document = self._api.request("GET", root, self._api.call("discover", root), accept=_ACCEPT)
        if document.get("kind") != "APIGroupDiscoveryList":
            raise ApiError(
                f"the API server answers {root} with {document.get('kind')!r}, not with aggregated discovery",
                next_step="use Kubernetes 1.27 or later",
            )
        for group in document["items"]:
            for version in group["versions"]:
                for resource in version.get("resources", ()):
                    if "responseKind" in resource:
                        yield _type(group["metadata"].get("name", ""), version["version"], resource)

    def _unknown(self, word: str, api_version: str | None) -> NotFound:
        groups = sorted({kind.group for kind in self.types() if not kind.built_in})
        return NotFound(
            f"the server serves no type called {word!r}" + (f" in {api_version}" if api_version else ""),
            next_step=f"apply its CustomResourceDefinition first; custom groups now: {', '.join(groups) or 'none'}",
            status=404,
            reason="NotFound",
        )


def _type(group: str, version: str, resource: Mapping[str, Any]) -> ResourceType:
    kind = resource["responseKind"]["kind"]
    return ResourceType(
        group=group,
        version=version,
        kind=kind,
        plural=resource["resource"],
        singular=resource.get("singularResource") or kind.lower(),
        short_names=frozenset(resource.get("shortNames") or ()),
        verbs=frozenset(resource.get("verbs") or ()),
        namespaced=resource["scope"] == "Namespaced",
    )
