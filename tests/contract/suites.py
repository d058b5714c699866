"""The conformance suite for the provider without processes: a trace is a word in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_kina.files import peek_json
from pytest_kina.testing import FakeProvider, ProviderConformance, backend_state, use_backend


class FakeSuite(ProviderConformance):
    """Examines :class:`FakeProvider`; others examine what is derived from it."""

    timeout = 20.0
    made: type[FakeProvider] = FakeProvider

    def provider(self) -> FakeProvider:
        """A new one each time."""
        return self.made()

    def use(self, directory: Path) -> str:
        """Leave a word in the backend."""
        use_backend(directory, "the suite")
        return "used by the suite"

    def has_trace(self, directory: Path, trace: str) -> bool:
        """Look at the backend itself, also for who kept a copy of its files."""
        if directory.parent.name == "copies":
            directory = self.bench.root.clusters / directory.name
        return backend_state(directory) == trace

    def credentials(self, directory: Path) -> Any:
        """The token."""
        return json.loads((directory / "kubeconfig").read_text())["users"]

    def image_archive(self, directory: Path) -> Path:
        """Any file will do."""
        (directory / "0123.tar").touch()
        return directory / "0123.tar"

    def has_image(self, directory: Path, archive: Path) -> bool:
        """What the backend says."""
        return archive.name in (peek_json(directory / "backend", 1) or {}).get("images", ())
