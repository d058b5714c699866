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
    from unittest import SkipTest

    for check in checks():
        examined = suite()
        examined.setup_method()
        try:
            getattr(examined, check)()
        except SkipTest as error:
            yield Finding(check=check, outcome="skipped", why=str(error))
        except Exception as error:  # a provider may do anything wrong
            yield Finding(check=check, outcome="failed", why=f"{type(error).__name__}: {error}")
        else:
            yield Finding(check=check, outcome="passed")
        finally:
            examined.teardown_method()
