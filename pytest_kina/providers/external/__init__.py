"""The external provider: namespaces in a cluster that exists already and stays."""

from __future__ import annotations

from pytest_kina.providers.external.provider import ExternalProvider

__all__ = ["ExternalProvider"]
