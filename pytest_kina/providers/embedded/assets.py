"""Which binaries a cluster runs: obtained once, then remembered in the cluster's directory for later resets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import ProvisionError
from pytest_kina.files import peek_json, write_json
from pytest_kina.options import truth
from pytest_kina.progress import Progress
from pytest_kina.providers.embedded.components import PROFILES
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.spec import ClusterSpec

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where binaries may come from; None means that the environment decides. ``assets`` are searched first."""

    root: Path | None = None
    offline: bool | None = None
    mirror: str | None = None
    assets: tuple[Path, ...] = ()

    def obtain(self, spec: ClusterSpec, progress: Progress) -> Programs:
        """The binaries for ``spec``. Slow when they have to be made. Raises :class:`BinaryError`."""
        from pytest_kina import binaries

        offline = truth(os.environ.get("KINA_OFFLINE") or "false") if self.offline is None else self.offline
        found = binaries.obtain(
            spec.version,
            PROFILES[spec.profile],
            root=self.root or _default_root(),
            offline=offline,
            explicit=self.assets,
            mirror=self.mirror or os.environ.get("KINA_MIRROR"),
            progress=progress,
        )
        return Programs(dict(found.paths), dict(found.versions), dict(found.digests))


@dataclass(frozen=True, slots=True)
class Programs:
    """Executables by component, versions by family (``kubernetes``: ``v1.36.3``), digests."""

    paths: Mapping[str, Path]
    versions: Mapping[str, str]
    digests: Mapping[str, str]

    def identity(self) -> dict[str, str]:
        """What makes clusters of these binaries differ from others."""
        return {**self.versions, **{f"digest {name}": digest for name, digest in self.digests.items()}}

    def remember(self, layout: Layout) -> None:
        """Keep the paths for :meth:`recall`. Raises :class:`OSError`."""
        paths = {name: str(path) for name, path in self.paths.items()}
        write_json(layout.assets, _SCHEMA, {"paths": paths, "versions": dict(self.versions)})


def recall(layout: Layout, cluster: str) -> Mapping[str, Path]:
    """The paths that :meth:`Programs.remember` kept. Raises :class:`ProvisionError`."""
    document = peek_json(layout.assets, _SCHEMA)
    if document is None:
        raise ProvisionError(
            f"cluster {cluster} cannot be reset: {layout.assets} does not say which binaries it runs",
            next_step="delete the cluster; the next one will be made anew",
            cluster=cluster,
        )
    return {name: Path(path) for name, path in document["paths"].items()}


def _default_root() -> Path:
    if home := os.environ.get("KINA_HOME"):
        return Path(home).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("pytest-kina"))
