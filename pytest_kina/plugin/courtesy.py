"""Gives a lease back in the middle of a test that does not need it, as soon as somebody waits for a cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pytest_kina.errors import KinaError
from pytest_kina.run import Loan

_INTERVAL = 0.1
_log = logging.getLogger(__name__)


class Courtesy:
    """A thread that looks whether somebody waits, while it is allowed to give a loan back.

    It releases leases only; what pytest has set up on top of them is torn down by pytest's own thread, later.
    """

    def __init__(self, somebody_waits: Callable[[], bool]) -> None:
        self._somebody_waits = somebody_waits
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loan: Loan | None = None
        self._closed = False
        self.gave_back = False
        """True from the moment a loan was given back until :meth:`forget`."""

    def begin(self, loan: Loan) -> None:
        """Allow giving ``loan`` back from now on."""
        with self._changed:
            self._loan = loan
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="kina-courtesy", daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self) -> None:
        """No longer allow it; waits for a return that has begun."""
        with self._changed:
            self._loan = None
            self._changed.notify()

    def forget(self) -> None:
        """The loan that was given back has been torn down."""
        self.gave_back = False

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed, self._loan = True, None
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        with self._changed:
            while not self._closed:
                if self._loan is None:
                    self._changed.wait()
                elif self._somebody_waits():
                    self._give_back(self._loan)
                else:
                    self._changed.wait(_INTERVAL)

    def _give_back(self, loan: Loan) -> None:
        self._loan = None
        try:
            loan.give_back()
        except (KinaError, OSError):
            _log.exception("a lease could not be given back early; it will be when its fixture ends")
        else:
            self.gave_back = True
