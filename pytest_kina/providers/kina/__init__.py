"""Clusters on Apple Container, made by ``kina`` (https://github.com/vinnie357/kina)."""

from __future__ import annotations

from pytest_kina.providers.kina.provider import KinaProvider

__all__ = ["KinaProvider"]
