"""Pools with short time-outs, and a fake provider that takes orders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.pool_kit import Kit


@pytest.fixture
def make_kit(tmp_path: Path) -> Iterator[Callable[..., Kit]]:
    """Makes processes of runs on one pool; each call is another process unless a run is named."""
    kits: list[Kit] = []

    def make(**limits: object) -> Kit:
        kits.append(Kit(tmp_path / "root", **{"lease_timeout": 0.2, **limits}))  # type: ignore[arg-type]
        return kits[-1]

    yield make
    for kit in kits:
        kit.pool.close()


@pytest.fixture
def kit(make_kit: Callable[..., Kit]) -> Kit:
    """One process of one run on a pool with two slots."""
    return make_kit()


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Gives the fake provider its delays and failures; returns the file that counts the calls."""
    path = tmp_path / "fake.json"

    def give(**orders: object) -> Path:
        path.write_text(json.dumps(orders), encoding="utf-8")
        monkeypatch.setenv("KINA_FAKE", str(path))
        return tmp_path / "fake.json.calls"

    return give
