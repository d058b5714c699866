"""Expectations in words: pytest does not rewrite the asserts of a suite that is inherited from another package."""

from __future__ import annotations

from collections.abc import Callable


def expect(fulfilled: object, what: str) -> None:
    """Raise :class:`AssertionError` that says what was expected, unless it is ``fulfilled``."""
    if not fulfilled:
        raise AssertionError(f"expected {what}")


def expect_none(found: object, what: str) -> None:
    """Raise :class:`AssertionError` unless ``what`` gave None."""
    expect(found is None, f"None from {what}, not {found!r}")


def expect_error(kind: type[BaseException], act: Callable[[], object], what: str) -> None:
    """Raise :class:`AssertionError` unless ``act`` raises an error of this kind; other errors go through."""
    try:
        act()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__} from {what}, but it succeeded")
