"""The embedded provider: etcd, the Kubernetes control plane and kwok as plain local processes."""

from __future__ import annotations

from pytest_kina.providers.embedded.provider import EmbeddedProvider

__all__ = ["EmbeddedProvider"]
