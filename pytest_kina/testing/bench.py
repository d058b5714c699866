"""The workbench of the conformance suite: places for clusters, stopwatches that interfere, processes that die."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytest_kina.files import write_json
from pytest_kina.pool import Root, open_root, records
from pytest_kina.progress import silent
from pytest_kina.providers import Place, Provider
from pytest_kina.spec import ClusterDescription, ClusterSpec, fingerprint
from pytest_kina.timing import Phase, Stopwatch, TimingRecorder
from pytest_kina.waiting import Deadline, wait_until

_SLOT = 7
_LOOK_AGAIN = 0.02
_PATIENCE = 30.0  # seconds


class Meddling(Stopwatch):
    """A stopwatch that calls ``effect`` at the end of ``phase``: all the work is done, and then something happens."""

    def __init__(self, recorder: TimingRecorder, phase: Phase, effect: Callable[[], object]) -> None:
        super().__init__(recorder, {})
        self._phase = phase
        self._effect = effect

    def bind(self, **attributes: Any) -> Stopwatch:  # noqa: ARG002 - the base class has them
        """Itself: nobody escapes by adding attributes."""
        return self

    @contextmanager
    def phase(self, phase: Phase, **attributes: Any) -> Iterator[None]:
        """Measure like any other; then the effect."""
        with super().phase(phase, **attributes):
            yield
            if phase is self._phase:
                self._effect()


class Bench:
    """A root directory of its own, outside everybody's, with all that a provider is given."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kina-conformance-")).resolve()
        self.root = open_root(self.directory / "root")
        self.recorder = TimingRecorder(run=secrets.token_hex(8), worker="main")
        self.stopwatch = self.recorder.bind()

    def place(self, *, root: Root | None = None, name: str = "") -> Place:
        """A place for one cluster; its directory exists and is private."""
        root = root or self.root
        name = name or f"kina-{root.pool_id}-{_SLOT}-{secrets.token_hex(4)}"
        (root.clusters / name).mkdir(mode=0o700)
        return place_at(root, name)

    def foreign_root(self) -> Root:
        """Another pool on this machine."""
        return open_root(self.directory / "foreign")

    def keep_copy(self, place: Place) -> Path:
        """A copy of all files of a cluster, in a directory of the same name."""
        return shutil.copytree(
            place.directory, self.directory / "copies" / place.name, symlinks=True, ignore=_special, dirs_exist_ok=True
        )

    def meddling(self, phase: Phase, effect: Callable[[], object]) -> Stopwatch:
        """A stopwatch that calls ``effect`` at the end of ``phase``."""
        return Meddling(self.recorder, phase, effect)

    def clear(self, make: Callable[[], Provider], patience: float = _PATIENCE) -> None:
        """Delete every cluster that is still there, then the directory.

        Supervisors and the janitor end once their clusters are gone, and may write until then. Raises
        :class:`AssertionError` when somebody still does after ``patience`` seconds.
        """
        for root in (self.directory / "root", self.directory / "foreign"):
            for directory in sorted(root.glob("clusters/*/")):
                with suppress(Exception):  # whatever is wrong with this provider has been found, or will be
                    make().delete(place_at(open_root(root), directory.name))
        if not wait_until(self._removed, Deadline(patience), interval=_LOOK_AGAIN):
            left = sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*"))
            raise AssertionError(f"{self.directory} cannot be removed; {left} come back or are in use")

    def _removed(self) -> bool:
        shutil.rmtree(self.directory, ignore_errors=True)
        return not self.directory.exists()


def place_at(root: Root, name: str) -> Place:
    """The place of the cluster ``name``, whose slot nobody tidies meanwhile."""
    number = int(name.split("-")[2])
    return Place(
        name=name,
        directory=root.clusters / name,
        slot_lock=records.lock_path(root.slots, number),
        tidy=("true",),
    )


def announce(provider: Provider, spec: ClusterSpec, place: Place) -> None:
    """Prepare, and write what the pool writes before it calls ``create``."""
    identity = provider.prepare(spec, silent)
    description = ClusterDescription(
        name=place.name,
        provider=provider.info.name,
        fingerprint=fingerprint(spec, provider.info.name, identity),
        spec=spec,
        identity=tuple(sorted(identity.items())),
    )
    write_json(place.directory / description.FILE, description.SCHEMA, description.to_json())


def in_child(action: Callable[[], object], timeout: float) -> int:
    """Do ``action`` in a process of its own; its exit code, or minus the signal that ended it.

    Raises :class:`AssertionError` when it has not ended after ``timeout`` seconds.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: the child soon ends
        child = os.fork()
    if child == 0:
        _end_with(action)
    found = wait_until(lambda: _ended(child), Deadline(timeout), interval=_LOOK_AGAIN)
    if found is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError(f"a process that used the provider did not end within {timeout:g} s")
    return os.waitstatus_to_exitcode(found[1])


def at_once(act: Callable[[Place], object], places: Sequence[Place]) -> None:
    """Call ``act`` for all places at the same time. Raises the first error once all have ended."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(places)) as threads:
        for done in [threads.submit(act, place) for place in places]:
            done.result()


def raising(error: Callable[[], BaseException]) -> Callable[[], None]:
    """What raises a new ``error`` whenever it is called."""

    def effect() -> None:
        raise error()

    return effect


def _special(directory: str, names: list[str]) -> list[str]:
    """Sockets and FIFOs: they cannot be copied, or would be waited for."""
    return [name for name in names if not (path := Path(directory, name)).is_file() and not path.is_dir()]


def _ended(child: int) -> tuple[int, int] | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return (pid, status) if pid else None


def _end_with(action: Callable[[], object]) -> None:
    """Never returns: what belongs to the parent (pytest, its captures and fixtures) must not end twice."""
    try:
        action()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def interrupted(action: Callable[[], object], seconds: float) -> None:
    """Do ``action``, and send it a Ctrl-C after ``seconds``; returns when that ends it somehow, or it was done before.

    Raises :class:`AssertionError` when it goes on to its end all the same. For a process of its own.
    """
    came: list[int] = []

    def come(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def lose(unraisable: sys.UnraisableHookArgs) -> None:
        # It came while Python ran a finalizer, of anybody's object: nobody could have let it pass. So once more.
        if unraisable.exc_type is KeyboardInterrupt:
            came.clear()
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, lose
    signal.signal(signal.SIGALRM, come)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        try:
            action()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException:  # also what comes between the end of the action and that of the timer
        if not came:
            raise
        return
    finally:
        sys.unraisablehook = before
    if came:
        raise AssertionError("the interrupt was swallowed")


def die() -> None:
    """End this process like a crash: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
