"""The one funnel for commands: argument lists, own process group, a deadline, and an error that shows everything."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from pytest_kina.errors import CommandError

_log = logging.getLogger(__name__)
_TAIL = 4000
# Whose handlers may raise in the middle of anything: Ctrl-C, the end of a time limit, of a CI job, of a terminal.
_INTERRUPTS = (signal.SIGINT, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP)

# What a child may see of our environment: where programs, homes, temporary files and proxies are, and the language.
PASSED_ON = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


class Outliving(subprocess.Popen[bytes]):
    """A process that may outlive us by design: being forgotten while it runs is no leak."""

    def __del__(self) -> None:
        """Skip the ResourceWarning of the base class."""


def environment(extra: Mapping[str, str] | None = None, *, also: Sequence[str] = ()) -> dict[str, str]:
    """The environment for a child: a list of names we know, never everything (``KUBECONFIG``, tokens, …)."""
    passed = {name: os.environ[name] for name in (*PASSED_ON, *also) if name in os.environ}
    return passed | dict(extra or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a finished command left: its output as text, and how long it took in seconds."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run_command(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | Path | None = None,
    check: bool = True,
) -> CommandResult:
    """Run ``argv`` to its end and return what it printed.

    ``timeout`` is in seconds; at its end the whole process group is killed. ``stdin`` is text, or the file to read it
    from (default: nothing). ``env`` replaces the environment (default: :func:`environment`). What the command makes
    is private, whatever our umask is. Raises :class:`CommandError` when the command cannot be started, takes too long,
    or (with ``check``) exits with another code than 0.
    """
    line = tuple(str(part) for part in argv)
    began = time.monotonic()
    process: subprocess.Popen[str] | None = None
    try:
        with _input(stdin) as source, _interrupts_held():
            process = subprocess.Popen(
                line,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment() if env is None else env),
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,
                umask=0o077,
            )
        stdout, stderr = process.communicate(stdin if isinstance(stdin, str) else None, timeout=timeout)
    except BaseException as error:
        if process is None and isinstance(error, OSError):
            raise _failed(line, None, "", str(error), time.monotonic() - began, "could not be started") from error
        if process is None:
            raise
        _kill_group(process)
        stdout, stderr = _said_so_far(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        problem = f"did not finish within {timeout:g} s"
        raise _failed(line, None, stdout, stderr, time.monotonic() - began, problem) from None
    seconds = time.monotonic() - began
    _log.debug("%s: exit %s after %.3f s", shlex.join(line), process.returncode, seconds)
    if check and process.returncode != 0:
        raise _failed(line, process.returncode, stdout, stderr, seconds, f"exited with {process.returncode}")
    return CommandResult(argv=line, returncode=process.returncode, stdout=stdout, stderr=stderr, seconds=seconds)


def plain(text: str) -> str:
    """``text`` without what colours it in a terminal (ECMA-48, control sequences)."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


def _input(stdin: str | Path | None) -> AbstractContextManager[int | BinaryIO]:
    if isinstance(stdin, Path):
        return stdin.open("rb")
    return nullcontext(subprocess.DEVNULL if stdin is None else subprocess.PIPE)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have signal handlers run after the block rather than in it, where they could lose a process that has started.

    Blocking the signals instead would be inherited by the process, and would not keep another thread from taking them.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run nowhere else
        yield
        return
    handlers = {int(number): handler for number in _INTERRUPTS if callable(handler := signal.getsignal(number))}
    arrived: list[tuple[int, FrameType | None]] = []
    holding = False

    def hold(number: int, frame: FrameType | None) -> None:
        if holding:
            arrived.append((number, frame))
        else:  # an interrupt may come between two of the lines below, and even leave us in place
            handlers[number](number, frame)

    try:
        for number in handlers:
            signal.signal(number, hold)
        holding = True
        yield
    finally:
        holding = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        with ExitStack() as each:  # all of them, although they raise; the exception of the first one stays
            for number, frame in arrived:
                each.callback(handlers[number], number, frame)


def _said_so_far(process: subprocess.Popen[str]) -> tuple[str, str]:
    if process.stdin is not None:  # an interrupt may have come while it was written to
        with suppress(OSError):
            process.stdin.close()
        process.stdin = None
    # A descendant in a session of its own has not been killed, and may keep the pipes open for ever.
    try:
        return process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired:
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()
        process.wait()
        return "", ""


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _failed(
    argv: tuple[str, ...], code: int | None, stdout: str, stderr: str, seconds: float, problem: str
) -> CommandError:
    shown = "\n".join(plain(text)[-_TAIL:].strip() for text in (stdout, stderr) if text.strip())
    return CommandError(
        f"`{shlex.join(argv)}` {problem} (after {seconds:.1f} s)" + (f":\n{shown}" if shown else ""),
        argv=argv,
        returncode=code,
        stdout=stdout,
        stderr=stderr,
        seconds=seconds,
    )
