"""The provider without processes does what every provider must."""

from __future__ import annotations

from tests.contract.suites import FakeSuite


class TestFake(FakeSuite):
    """All of the suite."""
