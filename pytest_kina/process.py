"""The one funnel for commands: argument lists, own process group, a deadline, and an error that shows everything."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import CommandError

_log = logging.getLogger(__name__)
_TAIL = 4000

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
    stdin: str | None = None,
    check: bool = True,
) -> CommandResult:
    """Run ``argv`` to its end and return what it printed.

    ``timeout`` is in seconds; at its end the whole process group is killed. ``env`` replaces the environment
    (default: :func:`environment`). Raises :class:`CommandError` when the command cannot be started, takes too long,
    or (with ``check``) exits with another code than 0.
    """
    line = tuple(str(part) for part in argv)
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment() if env is None else env),
            cwd=cwd,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(line, None, "", str(error), time.monotonic() - began, "could not be started") from error
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except BaseException as error:
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


def _said_so_far(process: subprocess.Popen[str]) -> tuple[str, str]:
    # A descendant in a session of its own has not been killed, and may keep the pipes open for ever.
    try:
        return process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
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
    shown = "\n".join(text[-_TAIL:].strip() for text in (stdout, stderr) if text.strip())
    return CommandError(
        f"`{shlex.join(argv)}` {problem} (after {seconds:.1f} s)" + (f":\n{shown}" if shown else ""),
        argv=argv,
        returncode=code,
        stdout=stdout,
        stderr=stderr,
        seconds=seconds,
    )
