"""Protection of the API server: so many requests per second at most, and few that only wait for each other.

How many may be under way at once is measured, as TCP Vegas does it (Brakmo and Peterson, 1995): with ``n`` at once
and a median of ``t`` seconds, ``n * (1 - t0 / t)`` of them are waiting in a queue, ``t0`` being the best median seen.
Below 2 there is room for one more, above 4 there is one too many. An answer 429 or 503 halves the number, and where
it came is tried again only after a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

MOST_AT_ONCE = 20
_WINDOW = 0.2
"""Seconds of answers that a judgement needs at least."""
_FEWEST = 8
"""Answers that a judgement needs at least."""
_CAUTION = 25
"""Judgements until one more is tried than the server was content with before it refused."""
_ROOM, _FULL = 2.0, 4.0
"""Requests in the queue: below the first there is room for another one, above the second there is one too many."""


class Pace:
    """Lets at most ``per_second`` requests begin per second, evenly; a pause that the server asked for concerns all."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = 1.0 / per_second
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Seconds until the caller's turn; he waits so long."""
        with self._lock:
            now = self._clock()
            mine = max(self._next, now)
            self._next = mine + self._step
            return mine - now

    def pause(self, seconds: float) -> None:
        """Nobody's turn comes before ``seconds`` from now."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured at one concurrency: answers per second, and their median time in seconds."""

    at_once: int
    per_second: float
    median: float


class Concurrency:
    """How many requests may be under way: between 1 and ``most``, found by measuring."""

    def __init__(self, most: int = MOST_AT_ONCE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._limit = 1
        self._ceiling = most
        self._judged = 0
        self._running = 0
        self._times: list[float] = []
        self._since = clock()
        self._free = threading.Condition()
        self.windows: list[Window] = []

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return self._limit

    def enter(self) -> None:
        """Wait until one more request may be under way."""
        with self._free:
            self._free.wait_for(lambda: self._running < self._limit)
            self._running += 1

    def leave(self, seconds: float | None, *, refused: bool = False) -> None:
        """A request was answered after ``seconds``, or (None) was not sent; ``refused``: with 429 or 503."""
        with self._free:
            self._running -= 1
            if refused:
                self._ceiling, self._judged = max(1, self._limit - 1), 0
                self._begin(self._limit // 2)
            elif seconds is not None:
                self._times.append(seconds)
                self._judge()
            self._free.notify_all()

    def _judge(self) -> None:
        passed = self._clock() - self._since
        if len(self._times) < max(_FEWEST, self._limit) or passed < _WINDOW:
            return
        window = Window(self._limit, len(self._times) / passed, median(self._times))
        self.windows.append(window)
        self._judged += 1
        if self._judged % _CAUTION == 0:
            self._ceiling = min(self._most, self._ceiling + 1)
        best = min(each.median for each in self.windows)
        queue = self._limit * (1 - best / window.median) if window.median else 0.0
        self._begin(self._limit + (queue < _ROOM) - (queue > _FULL))

    def _begin(self, limit: int) -> None:
        self._limit = min(self._ceiling, max(1, limit))
        self._times, self._since = [], self._clock()
