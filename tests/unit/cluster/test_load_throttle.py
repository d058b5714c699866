"""How a load protects the API server: pace, concurrency, and what the server asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from scripted_api import FakeApi, ok, status

from pytest_kina.cluster import Cluster
from pytest_kina.errors import ApiError
from pytest_kina.load.operations import Operation
from pytest_kina.load.sending import Sender, retry_after
from pytest_kina.load.throttle import MOST_AT_ONCE, Concurrency, Pace

MAPS = "/api/v1/namespaces/n/configmaps"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def creations(count: int) -> list[Operation]:
    """So many config maps."""
    return [
        Operation(kind="config_maps", verb="create", requests=(("POST", MAPS, {"metadata": {"name": f"c{number}"}}),))
        for number in range(count)
    ]


def nobody(_: int) -> None:
    """Is told, and does not care."""


def test_turns_are_even_and_a_rest_is_not_saved_up() -> None:
    """So many per second begin, evenly; after idle time the next ones do not come all at once."""
    clock = Clock()
    pace = Pace(10, clock=clock)
    assert [round(pace.turn(), 3) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    clock.now += 60
    assert [round(pace.turn(), 3) for _ in range(3)] == [0.0, 0.1, 0.2]


def test_a_pause_holds_everybody_back_once() -> None:
    """Whoever asks next waits as long as the server wanted, and a shorter pause does not shorten that."""
    clock = Clock()
    pace = Pace(10, clock=clock)
    pace.pause(5)
    pace.pause(1)
    assert [round(pace.turn(), 3) for _ in range(2)] == [5.0, 5.1]


def climb(time_at: Callable[[int], float], windows: int = 60, after: Concurrency | None = None) -> Concurrency:
    """A concurrency after so many windows on a server that takes ``time_at(at once)`` seconds per request."""
    concurrency = after or Concurrency(clock=Clock())
    clock = concurrency._clock
    assert isinstance(clock, Clock)
    already = len(concurrency.windows)
    while len(concurrency.windows) < already + windows:
        at_once = concurrency.limit
        for _ in range(at_once):
            concurrency.enter()
        clock.now += time_at(at_once)
        for _ in range(at_once):
            concurrency.leave(time_at(at_once))
    return concurrency


@pytest.mark.parametrize("parallel", [1, 4, 8])
def test_concurrency_stays_a_little_above_what_the_server_does_in_parallel(parallel: int) -> None:
    """A server that answers ``parallel`` at a time, and queues the others, gets 2 to 5 more than that."""
    found = climb(lambda at_once: 0.01 * max(1.0, at_once / parallel))
    assert all(parallel + 2 <= window.at_once <= parallel + 5 for window in found.windows[-10:])


def test_concurrency_ends_at_twenty_and_at_one() -> None:
    """A server that is never busy gets the most; one that gets slower without bound, few."""
    assert climb(lambda _: 0.01).limit == MOST_AT_ONCE == 20
    assert climb(lambda at_once: 0.01 * at_once**3).limit <= 4


def test_a_refusal_halves_the_concurrency() -> None:
    """And never to nothing."""
    concurrency = climb(lambda _: 0.01)
    for expected in (10, 5, 2, 1, 1):
        concurrency.enter()
        concurrency.leave(0.01, refused=True)
        assert concurrency.limit == expected


def test_where_the_server_refused_is_tried_again_only_after_a_while() -> None:
    """For 25 measurements it stays below; then one more is tried each time."""
    concurrency = climb(lambda _: 0.01, windows=9)
    assert concurrency.limit == 10
    concurrency.enter()
    concurrency.leave(0.01, refused=True)
    assert climb(lambda _: 0.01, 24, concurrency).limit == 9
    assert climb(lambda _: 0.01, 2, concurrency).limit == 10
    assert climb(lambda _: 0.01, 300, concurrency).limit == MOST_AT_ONCE


def test_no_more_than_the_limit_are_under_way() -> None:
    """The second one waits until the first one has left."""
    concurrency = Concurrency()
    concurrency.enter()
    entered = threading.Event()
    second = threading.Thread(target=lambda: (concurrency.enter(), entered.set()))
    second.start()
    assert not entered.wait(0.05)
    concurrency.leave(None)
    assert entered.wait(10)
    second.join()


@pytest.mark.parametrize(("header", "seconds"), [(None, 1), ("0", 0), ("7", 7), ("9999", 30), ("soon", 1), ("-1", 1)])
def test_retry_after_is_read_as_seconds(header: str | None, seconds: float) -> None:
    """Within reason: at most half a minute, one second where nothing usable is said."""
    assert retry_after(header) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    """The other form of RFC 9110; the past means at once."""
    assert 18 < retry_after(formatdate(time.time() + 20, usegmt=True)) <= 20
    assert retry_after(formatdate(time.time() - 20, usegmt=True)) == 0


def test_refused_requests_are_sent_again_and_counted(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> None:
    """429 and 503 with Retry-After are no failures: each request arrives in the end, and the refusals are counted."""
    later = {"Retry-After": "0"}
    busy = [status(429, "TooManyRequests", "wait", later), status(503, "ServiceUnavailable", "wait", later)]
    fake_api.on("POST", MAPS, *busy, ok({"kind": "PartialObjectMetadata"}))
    sender = Sender(make_cluster(fake_api.url).client(), per_second=1000)
    assert sender.send(creations(5), told=nobody) == 5
    assert (sender.tally.throttled, sender.tally.failed) == (2, 0)
    assert sender.tally.done == {"create config_maps": 5}
    assert len(fake_api.asked("POST", MAPS)) == 7
    sender.close()


def test_failures_are_counted_with_examples(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> None:
    """A refusal for good is the server's own words, and the others go on."""
    wrong = status(422, "Invalid", "name is wrong")
    fake_api.on("POST", MAPS, wrong, ok({}))
    sender = Sender(make_cluster(fake_api.url).client(), per_second=1000)
    sender.send(creations(4), told=nobody)
    assert sender.tally.failed == 1
    assert sender.tally.examples == ["create config_maps: 422: name is wrong"]
    assert sender.tally.done == {"create config_maps": 3}
    sender.close()


def test_a_server_that_never_wants_it_is_a_failure(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> None:
    """After ten refusals a request counts as failed; nothing is asked forever."""
    fake_api.on("POST", MAPS, status(429, "TooManyRequests", "never", {"Retry-After": "0"}))
    sender = Sender(make_cluster(fake_api.url).client(), per_second=1000)
    sender.send(creations(1), told=nobody)
    assert (sender.tally.failed, sender.tally.throttled) == (1, 10)
    sender.close()


def test_a_server_that_is_gone_ends_the_load(make_cluster: Callable[..., Cluster]) -> None:
    """One error, not one per object; the concurrency is free again."""
    told: list[int] = []
    sender = Sender(make_cluster("http://127.0.0.1:9").client(), per_second=1000, cluster="c1")
    with pytest.raises(ApiError, match=r"cannot send load to the API server .* on cluster c1: .* did not answer"):
        sender.send(creations(1000), told=told.append)
    assert told == []
    sender.close()


def test_nothing_begins_after_the_end(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> None:
    """What was not sent until then is not sent, and the number says so."""
    fake_api.on("POST", MAPS, ok({}))
    sender = Sender(make_cluster(fake_api.url).client(), per_second=1000)
    assert sender.send(creations(5), told=nobody, until=time.monotonic() - 1) == 0
    assert fake_api.asked("POST", MAPS) == []
    sender.close()
