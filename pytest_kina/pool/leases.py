"""A lease: the right to use one cluster, until it is released or its process dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pytest_kina.errors import KinaError
from pytest_kina.pool.wants import Want


class Lease:
    """One cluster in use. Keep it referenced: it holds the lock that is the lease.

    ``start`` says how the cluster came about: ``fresh``, ``template``, ``spare`` (made ahead, unused) or ``reused``.
    """

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        number: int,
        want: Want,
        start: str,
        give_back: Callable[[], None],
        keep: Callable[[str], bool],
        check: Callable[[], str | None],
    ) -> None:
        self.name = name
        self.directory = directory
        self.number = number
        self.want = want
        self.start = start
        self._keep = keep
        self._check = check
        self._give_back: Callable[[], None] | None = give_back
        self._pid = os.getpid()
        self.released_at = float("-inf")

    @property
    def released(self) -> bool:
        """True after :meth:`release`; ``released_at`` is then the time, on the monotonic clock."""
        return self._give_back is None

    def __repr__(self) -> str:
        return f"<Lease of {self.name}, {self.want.isolation}{'' if self._give_back else ', released'}>"

    def unhealthy(self) -> str | None:
        """One sentence that says why the cluster is of no use any more, or None. Takes milliseconds."""
        try:
            return self._check()
        except (KinaError, OSError) as error:
            return f"the health check failed: {error}"

    def keep(self, why: str) -> bool:
        """Leave the cluster to a person when nobody uses it any more: it stays as it is until it is deleted by name.

        A kept cluster occupies its slot, so the last usable one is not kept; the result says whether this one is.
        Raises :class:`~pytest_kina.errors.StateError`.
        """
        return self._give_back is not None and self._keep(why)

    def release(self) -> None:
        """Give the cluster back, in milliseconds: cleaning is left to whoever comes next. The second call does nothing.

        In a forked child it does nothing, because the lease is the parent's.
        """
        give_back, self._give_back = self._give_back, None
        if give_back is not None and os.getpid() == self._pid:
            give_back()
            self.released_at = time.monotonic()
