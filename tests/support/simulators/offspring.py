"""Programs that a simulated tool runs.

Those of the same host run as a fork of it: a process like any other, which has imported already what it needs. All
others (a shim, ``which``) are started.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn

import main as program

Finished = subprocess.CompletedProcess[bytes]


def finish(argv: Sequence[str], stdin: bytes | None = None, extra: Mapping[str, str] | None = None) -> Finished:
    """Run ``argv`` to its end, with ``stdin`` or nothing to read, and ``extra`` in its environment. Raises OSError."""
    own = _own(argv[0])
    if own is None:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(argv, capture_output=True, check=False, env={**os.environ, **(extra or {})}, **given)
    with ExitStack() as files:
        streams = [files.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(stdin or b"")
        code = _fork([*own, *argv[1:]], streams, extra or {})
        _, out, errors = (_whole(stream) for stream in streams)
    return subprocess.CompletedProcess(list(argv), code, out, errors)


def _fork(arguments: list[str], streams: Sequence[IO[bytes]], extra: Mapping[str, str]) -> int:
    for stream in (*streams, sys.stdout, sys.stderr):
        stream.flush()
    streams[0].seek(0)
    child = os.fork()
    if child == 0:
        os.environ.update(extra)
        _become(arguments, streams)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _whole(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _own(name: str) -> list[str] | None:
    """Tool and state directory of a launcher that ``Host.install`` wrote; None for every other program."""
    path = shutil.which(name)
    text = Path(path).read_text(errors="replace") if path else ""
    words = shlex.split(text.splitlines()[-1]) if f'"{program.__file__}"' in text else []
    return words[-3:-1] if words[:1] == ["exec"] and "-S" in words else None


def _become(arguments: list[str], streams: Sequence[IO[bytes]]) -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
    sys.argv[1:] = arguments
    code = 70
    try:
        code = program.main()
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
