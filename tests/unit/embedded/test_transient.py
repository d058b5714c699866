"""Which failed starts are tried once more, how often, and that it is said."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from pytest_kina.errors import NotReadyError, ProvisionError
from pytest_kina.providers.embedded.transient import at_most_twice, reason
from pytest_kina.retries import drain


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    """Each test hears only of its own retries."""
    drain()
    yield
    drain()


@pytest.mark.parametrize(
    "message",
    [
        f"etcd could not be executed: {OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))}",
        f"no port could be reserved: {OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))}",
        "kube-apiserver exited with code 1\nlisten tcp 127.0.0.1:6443: bind: address already in use",
        "etcd exited with code 2\nruntime: failed to create new OS thread (have 5 already; errno=11)",
    ],
)
def test_a_passing_cause_is_tried_once_more_and_noted(message: str) -> None:
    """The second start has what is left of the time, and one sentence says that there was one, and why."""
    given: list[float] = []

    def start(seconds: float) -> None:
        given.append(seconds)
        if len(given) == 1:
            raise ProvisionError(message)

    at_most_twice("kina-1", 30.0, start)
    assert given[0] == 30.0
    assert 0 < given[1] < 30.0
    (said,) = drain()
    assert (
        said
        == f"cluster kina-1 was started a second time, because the first start failed: {reason(ProvisionError(message))}"
    )


def test_the_second_failure_is_final() -> None:
    """The error of the second start is raised, whatever its cause."""
    calls = iter(["address already in use", "address already in use, again"])

    def start(_: float) -> None:
        raise ProvisionError(next(calls))

    with pytest.raises(ProvisionError, match="again"):
        at_most_twice("kina-1", 30.0, start)
    assert len(drain()) == 1


@pytest.mark.parametrize(
    "error",
    [
        NotReadyError("kube-apiserver exited with code 1: unknown feature gate"),
        NotReadyError("step: etcd is healthy: not reached within 60 s\nbind: address already in use"),
        ProvisionError("No space left on device"),
    ],
)
def test_everything_else_fails_at_the_first_time(error: ProvisionError) -> None:
    """Also what took too long, whatever its log says: it would take as long again."""
    calls: list[float] = []

    def start(seconds: float) -> None:
        calls.append(seconds)
        raise error

    with pytest.raises(ProvisionError) as caught:
        at_most_twice("kina-1", 30.0, start)
    assert (caught.value, len(calls), drain()) == (error, 1, [])


def test_nothing_is_begun_when_the_time_is_over() -> None:
    """A passing cause that came at the very end is the error."""

    def start(_: float) -> None:
        raise ProvisionError("address already in use")

    with pytest.raises(ProvisionError):
        at_most_twice("kina-1", 0.0, start)
    assert drain() == []
