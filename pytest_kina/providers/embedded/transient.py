"""Starts that fail for a cause that passes: once more, and visibly; everything else fails at the first time."""

from __future__ import annotations

from collections.abc import Callable

from pytest_kina.errors import ProvisionError
from pytest_kina.retries import note
from pytest_kina.waiting import Deadline

# As the kernel (strerror), Go's net package and Go's runtime say it.
_SIGNS = ("address already in use", "resource temporarily unavailable", "failed to create new os thread")
_SLOW = "not reached within"


def reason(error: ProvisionError) -> str | None:
    """The passing cause of a failed start: a port that was taken meanwhile, or no process to be had; else None.

    What took too long is no such thing: it would take as long again. Nor is what the user's content says.
    """
    text = error.message.lower()
    if _SLOW in text or error.details.get("content"):
        return None
    return next((sign for sign in _SIGNS if sign in text), None)


def at_most_twice(cluster: str, timeout: float, start: Callable[[float], None]) -> None:
    """Call ``start`` with the seconds that it may take, and once more when it failed for a passing cause.

    Both together take ``timeout`` seconds at most. ``start`` leaves nothing running when it fails. Raises what that
    raises.
    """
    deadline = Deadline(timeout)
    try:
        start(timeout)
    except ProvisionError as error:
        why = reason(error)
        if why is None or deadline.expired:
            raise
        note(f"cluster {cluster} was started a second time, because the first start failed: {why}")
    else:
        return
    start(deadline.remaining)
