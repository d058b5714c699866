"""The provider ``auto``: the first candidate that can run here and can do what the spec asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_kina.candidates import CANDIDATES, absent
from pytest_kina.capabilities import implied, refuse_unable
from pytest_kina.errors import KinaError, ProviderUnavailableError, SpecError, one_line
from pytest_kina.providers import Provider, find, names
from pytest_kina.spec import ClusterSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who makes the cluster (None: nobody here can), and why each candidate before was not taken.

    ``error`` is what the first candidate said that can run here but refuses the spec, ``refused_by`` its name.
    """

    name: str | None
    refused: Mapping[str, str]
    refused_by: str = ""
    error: SpecError | None = None

    @property
    def reasons(self) -> str:
        """The reasons in one line."""
        return "; ".join(f"{name}: {why}" for name, why in self.refused.items())

    def taken(self) -> str:
        """The name. Raises :class:`ProviderUnavailableError` with all reasons when there is none."""
        if self.name is None:
            listed = "".join(f"\n  {name}: {why}" for name, why in self.refused.items())
            raise ProviderUnavailableError(
                f"no provider on this machine can make such a cluster:{listed}",
                next_step="install what one of them misses, or leave out what none of them can do",
            )
        return self.name

    def refuse(self) -> None:
        """Raise :class:`SpecError` when there are candidates that can run here, and all refuse the spec."""
        if self.name is None and self.error is not None:
            others = "; ".join(f"{name}: {why}" for name, why in self.refused.items() if name != self.refused_by)
            raise SpecError(
                f"{self.error.message}\nOther candidates of auto: {others}", next_step=self.error.next_step
            ) from self.error


@dataclass(slots=True)
class Auto:
    """Asks each candidate at most once whether it can run here; ``options`` are those of :func:`find`."""

    options: Mapping[str, Any]
    _known: dict[str, Provider | str] = field(default_factory=dict)
    _choices: dict[ClusterSpec, Choice] = field(default_factory=dict)

    def choose(self, spec: ClusterSpec) -> Choice:
        """The first candidate that is fit, in the order of :data:`CANDIDATES`. Looks at programs, starts no cluster."""
        if spec not in self._choices:
            self._choices[spec] = self._choose(spec)
        return self._choices[spec]

    def _choose(self, spec: ClusterSpec) -> Choice:
        refused: dict[str, str] = {}
        first: tuple[str, SpecError | None] = ("", None)
        for name in CANDIDATES:
            if isinstance(provider := self._met(name), str):
                refused[name] = provider
                continue
            try:
                refuse_unable(name, provider.info.capabilities, spec)
                provider.validate(spec)
            except SpecError as error:
                refused[name] = _briefly(provider, spec, error)
                first = first if first[0] else (name, error)
            else:
                return Choice(name=name, refused=refused)
        return Choice(name=None, refused=refused, refused_by=first[0], error=first[1])

    def _met(self, name: str) -> Provider | str:
        if name not in self._known:
            self._known[name] = self._meet(name)
        return self._known[name]

    def _meet(self, name: str) -> Provider | str:
        """The provider, or one sentence that says why it cannot run here."""
        if name not in names():
            return "this version cannot drive it yet"
        if why := absent(name):
            return why
        try:
            provider = find(name, self.options)
            return provider.unavailable() or provider
        except KinaError as error:
            return one_line(error)


def _briefly(provider: Provider, spec: ClusterSpec, error: SpecError) -> str:
    missing = sorted({*implied(spec), *spec.needs} - provider.info.capabilities)
    return f"it has no {', '.join(missing)}" if missing else one_line(error)
