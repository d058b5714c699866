"""Where a cluster's binaries come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.options import truth
from pytest_kina.progress import Progress
from pytest_kina.providers.embedded.components import PROFILES
from pytest_kina.settings import default_root
from pytest_kina.spec import ClusterSpec


@dataclass(frozen=True, slots=True)
class Source:
    """Where binaries may come from; None means that the environment decides. ``assets`` are searched first."""

    root: Path | None = None
    offline: bool | None = None
    mirror: str | None = None
    assets: tuple[Path, ...] = ()

    @property
    def home(self) -> Path:
        """The state directory."""
        return self.root or default_root()

    def obtain(self, spec: ClusterSpec, progress: Progress) -> Programs:
        """The binaries for ``spec``. Slow when they have to be made. Raises :class:`BinaryError`."""
        from pytest_kina import binaries

        offline = truth(os.environ.get("KINA_OFFLINE") or "false") if self.offline is None else self.offline
        found = binaries.obtain(
            spec.version,
            PROFILES[spec.profile],
            root=self.home,
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
