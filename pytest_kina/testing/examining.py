"""Running the conformance suite without pytest, for reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_kina.testing.conformance import ProviderConformance


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one test of the suite; ``why`` is empty when it passed."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    why: str = ""


def checks() -> list[str]:
    """The names of all tests of the suite, in their order."""
    return [name for name in vars(ProviderConformance) if name.startswith("test_")]


def examine(suite: type[ProviderConformance]) -> Iterator[Finding]:
    """Run every test of ``suite``, one after the other."""
    for check in checks():
        examined = suite()
        examined.setup_method()
        try:
            finding = _try(examined, check)
        finally:
            left = _clear(examined)
        yield _failed(check, left) if left and finding.outcome != "failed" else finding


def _try(examined: ProviderConformance, check: str) -> Finding:
    from unittest import SkipTest

    try:
        getattr(examined, check)()
    except SkipTest as error:
        return Finding(check=check, outcome="skipped", why=str(error))
    except Exception as error:  # a provider may do anything wrong
        return _failed(check, error)
    return Finding(check=check, outcome="passed")


def _clear(examined: ProviderConformance) -> Exception | None:
    try:
        examined.teardown_method()
    except AssertionError as error:  # something of the provider still writes
        return error
    return None


def _failed(check: str, error: Exception) -> Finding:
    return Finding(check=check, outcome="failed", why=f"{type(error).__name__}: {error}")
