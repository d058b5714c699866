"""The creator's end of the pipes to a supervisor: orders out, events in (protocol: ``pytest_kina/_supervisor.py``)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pytest_kina import _supervisor, crashpoints
from pytest_kina.process import Outliving, environment
from pytest_kina.providers import Place
from pytest_kina.providers.embedded.polling import readable
from pytest_kina.waiting import Deadline

# What the supervisor, and the idle helper that inherits its environment, need beyond the usual: where our code is, and
# where a test lets them die.
_FOR_THE_HELPER = ("PYTHONPATH", crashpoints.ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class Exit:
    """A component that has exited, with its exit code or the number of the signal that killed it."""

    component: str
    code: int | None
    signal: int | None

    def __str__(self) -> str:
        return f"{self.component} {describe_exit(self.code, self.signal)}"


def describe_exit(code: int | None, number: int | None) -> str:
    """How a component ended, in words."""
    return f"exited with code {code}" if number is None else f"was killed by signal {number}"


class LinkBroken(Exception):
    """The supervisor has ended, or does not answer. ``str()`` says what was expected of it."""


def _private(path: Path) -> BinaryIO:
    """An empty file of ours for writing, whatever our umask is."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


_started: list[Outliving] = []
"""Supervisors that this process has started: they are its children, and must be reaped when they end."""


_entrusted: dict[str, Link] = {}
"""Clusters that this process has started and that nobody has adopted yet, by name; shared by all provider objects."""


def entrust(cluster: str, link: Link) -> None:
    """Keep the link of a cluster that is being made, for whoever adopts or ends it."""
    _entrusted[cluster] = link


def claim(cluster: str) -> Link | None:
    """The link of a cluster that this process has started, once: None when it was adopted, ended, or made elsewhere."""
    return _entrusted.pop(cluster, None)


def reap() -> None:
    """Take the exit status of supervisors of ours that have ended, so that none stays as a zombie."""
    _started[:] = [process for process in _started if process.poll() is None]


class Link:
    """A running supervisor that has not been adopted. Until then it ends, with all it started, when we do."""

    def __init__(self, place: Place, log: Path) -> None:
        """Start the supervisor, whose complaints go to ``log``. Raises :class:`OSError`."""
        reap()
        script = _supervisor.__file__
        arguments = [str(place.directory), str(place.slot_lock), str(os.getpid()), *place.tidy]
        with _private(log) as errors:
            self._process = Outliving(
                [sys.executable, "-I", "-S", script, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment({_supervisor.MARK: place.name}, also=_FOR_THE_HELPER),
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        _started.append(self._process)
        self._pending = b""
        self._exits: list[Exit] = []

    @property
    def descriptor(self) -> int:
        """Becomes readable when there is an event: for waiting for it and something else at once."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def reserve(self, names: Sequence[str], deadline: Deadline) -> dict[str, int]:
        """A port on 127.0.0.1 for each name, kept for the cluster's life. Raises :class:`LinkBroken`."""
        self._order("reserve", ports=list(names))
        answer: dict[str, int] = self._expect("reserved", deadline)["ports"]
        return answer

    def spawn(
        self,
        component: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        deadline: Deadline,
        *,
        stateless: bool = False,
    ) -> None:
        """Start a component; a ``stateless`` one is started again when it crashes.

        Raises :class:`LinkBroken`, also when its program cannot be executed.
        """
        self._order("spawn", component=component, argv=list(argv), env=dict(env), log=str(log), stateless=stateless)
        self._expect("spawned", deadline)

    def adopt(self, deadline: Deadline) -> None:
        """Let the cluster outlive this process. Raises :class:`LinkBroken`."""
        self._order("adopt")
        self._expect("adopted", deadline)
        self.close()

    def exits(self) -> list[Exit]:
        """The components that have exited so far. Raises :class:`LinkBroken`."""
        while readable(self.descriptor, seconds=0):
            self._read()
        return self._exits

    def close(self) -> None:
        """Close the pipes; a supervisor that was not adopted ends."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _order(self, order: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"order": order, **fields}).encode() + b"\n")
        except OSError as error:
            raise LinkBroken(f"the supervisor did not take the order {order!r}: {error}") from error

    def _expect(self, event: str, deadline: Deadline) -> dict[str, Any]:
        while True:
            for answer in self._read() if readable(self.descriptor, seconds=deadline.remaining) else ():
                if answer["event"] == event:
                    return answer
                if answer["event"] == "refused":
                    raise LinkBroken(answer["error"])
            if deadline.expired:
                raise LinkBroken(f"the supervisor did not say {event!r} within {deadline.seconds:g} s")

    def _read(self) -> list[dict[str, Any]]:
        """The answers that have arrived; exits are put aside, whenever they come."""
        chunk = os.read(self.descriptor, 65536)
        if not chunk:
            raise LinkBroken("the supervisor has ended")
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        events = [json.loads(line) for line in lines]
        gone = [event for event in events if event["event"] == "exited"]
        self._exits += [Exit(event["component"], event["code"], event["signal"]) for event in gone]
        return [event for event in events if event["event"] != "exited"]
