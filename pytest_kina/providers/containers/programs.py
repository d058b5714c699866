"""Programs that somebody installed: where they are, and how they are run without touching what is the user's."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_kina.errors import CommandError, ProviderUnavailableError
from pytest_kina.process import environment, plain

Version = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def installed(name: str) -> list[Path]:
    """Every program called ``name`` on PATH, in its order; the first is what a shell would run."""
    folders = dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep))
    found = [shutil.which(name, path=folder) for folder in folders if folder]
    return [Path(path) for path in dict.fromkeys(found) if path]


def plain_environment(extra: Mapping[str, str] | None = None, *, also: Sequence[str] = ()) -> dict[str, str]:
    """The environment for a tool: no colours, no other language, and nothing that names a cluster of the user's.

    ``also`` are further variables of ours that it may see.
    """
    return environment({"NO_COLOR": "1", "LANG": "C", "LC_ALL": "C", **(extra or {})}, also=also)


def why_absent(find: Callable[[], object]) -> str | None:
    """One sentence when ``find`` raises :class:`ProviderUnavailableError`, with what to do about it; else None."""
    try:
        find()
    except ProviderUnavailableError as error:
        return f"{error.message}: {error.next_step}" if error.next_step else error.message
    return None


def version_in(text: str, after: str = "") -> Version | None:
    """The version number that follows the words ``after`` in ``text``; None when there is none of a known form."""
    _, found, rest = plain(text).partition(after) if after else ("", "yes", plain(text))
    numbers = _VERSION.fullmatch(rest.split()[0]) if found and rest.split() else None
    return (int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)) if numbers else None


def complaint(error: CommandError) -> str:
    """What went wrong with a program, as one line."""
    return " ".join(error.message.split())


def dotted(version: Version) -> str:
    """``1.2.3``."""
    return ".".join(map(str, version))
