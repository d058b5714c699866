"""What a cluster is made of, remembered in its directory, so that whoever resets it makes the same one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pytest_kina.files import peek_json, write_json
from pytest_kina.providers import CannotReset
from pytest_kina.providers.embedded.layout import Layout

_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The executable of each component, versions by family (``kubernetes``: ``v1.36.3``), and where templates are.

    ``template`` is that of the whole spec; ``base`` that of the spec without the user's content, for want of the other.
    ``sweep``: a reset tries to sweep before it restores.
    """

    paths: Mapping[str, Path]
    versions: Mapping[str, str]
    template: Path
    base: Path
    sweep: bool = False

    @property
    def etcdutl(self) -> Path | None:
        """What templates are made with; None where etcd came without it, and each start is a fresh one."""
        beside = self.paths["etcd"].with_name("etcdutl")
        return beside if beside.exists() else None

    def remember(self, layout: Layout) -> None:
        """Keep it for :meth:`recall`. Raises :class:`OSError`."""
        paths = {name: str(path) for name, path in self.paths.items()}
        where = {"template": str(self.template), "base": str(self.base)}
        content = {"paths": paths, "versions": dict(self.versions), **where, "sweep": self.sweep}
        write_json(layout.assets, _SCHEMA, content)

    @classmethod
    def recall(cls, layout: Layout, cluster: str) -> Self:
        """What :meth:`remember` kept. Raises :class:`~pytest_kina.providers.CannotReset`."""
        document = peek_json(layout.assets, _SCHEMA) or {}
        try:
            paths = {name: Path(path) for name, path in document["paths"].items()}
            template, base = Path(document["template"]), Path(document["base"])
            sweep = bool(document.get("sweep"))
            return cls(paths=paths, versions=document["versions"], template=template, base=base, sweep=sweep)
        except (LookupError, TypeError, AttributeError) as error:
            raise CannotReset(
                f"cluster {cluster} cannot be reset: {layout.assets} does not say which binaries it runs",
                next_step="delete the cluster; the next one will be made anew",
                cluster=cluster,
            ) from error
