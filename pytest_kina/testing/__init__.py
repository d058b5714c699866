"""For tests of what is built on providers, a provider without any process; for providers, the conformance suite."""

from __future__ import annotations

from pytest_kina.testing.conformance import ProviderConformance
from pytest_kina.testing.examining import Finding, checks, examine
from pytest_kina.testing.fake import CALLS, ENVIRONMENT, FakeProvider, backend_state, read_calls, use_backend

__all__ = [
    "CALLS",
    "ENVIRONMENT",
    "FakeProvider",
    "Finding",
    "ProviderConformance",
    "backend_state",
    "checks",
    "examine",
    "read_calls",
    "use_backend",
]
