"""A model of lock files that get removed (process and build locks): paths, inodes, link counts and flock.

``filelock`` opens or creates the file, flocks it, and then compares the link count with zero, nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple


class Opener(NamedTuple):
    """A process: its place in the program, and the inode that it has open (0: none)."""

    at: str = "start"
    inode: int = 0


class Files(NamedTuple):
    """The inode at the path (0: none), the next new one, those renamed away, the processes, the kills left."""

    path: int
    fresh: int
    aside: frozenset[int]
    openers: tuple[Opener, ...]
    kills: int


HOLDS = ("flocked", "works", "removed")

Move = tuple[str, str, int, dict[str, Any]]
"""What is done, the place and inode after it, and the change of the files."""


def explore_lock_file(
    mistake: str = "", *, processes: int = 3, kills: int = 1, inodes: int = 6
) -> tuple[int, list[str]]:
    """The number of worlds, and the shortest story to two holders of one lock (empty: there is none)."""
    start = Files(1, 2, frozenset(), (Opener(),) * processes, kills)
    trail: dict[Files, list[str]] = {start: []}
    queue = deque([start])
    while queue:
        files = queue.popleft()
        for text, after in _steps(files, mistake, inodes):
            if after in trail:
                continue
            trail[after] = [*trail[files], text]
            if sum(each.at == "works" for each in after.openers) > 1:
                return len(trail), trail[after]
            queue.append(after)
    return len(trail), []


def _steps(files: Files, mistake: str, inodes: int) -> Iterator[tuple[str, Files]]:
    for index, opener in enumerate(files.openers):
        others = [each for number, each in enumerate(files.openers) if number != index]
        held = any(each.inode == opener.inode and each.at in HOLDS for each in others)
        for text, at, inode, change in _moves(files, opener, mistake, held=held, room=files.fresh <= inodes):
            openers = (*files.openers[:index], Opener(at, inode), *files.openers[index + 1 :])
            yield f"P{index} {text}", files._replace(openers=openers, **change)


def _moves(files: Files, opener: Opener, mistake: str, *, held: bool, room: bool) -> Iterator[Move]:
    at, inode = opener
    if at != "start" and files.kills:
        yield "KILLED", "start", 0, {"kills": files.kills - 1}
    if at == "start" and room:
        yield from _opens(files, mistake)
    elif at == "open" and not held:
        yield "flocks it", "flocked", inode, {}
    elif at == "flocked":
        linked = inode == files.path or inode in files.aside or mistake == "no check after the flock"
        yield ("holds it", "works", inode, {}) if linked else ("sees it unlinked, tries again", "start", 0, {})
    elif at == "works":
        yield from _ends(files, inode, mistake)
    elif at == "removed":
        yield "unlocks it", "start", 0, {}
    elif at == "unlinks":
        yield "unlinks it", "start", 0, {"path": 0}


def _opens(files: Files, mistake: str) -> Iterator[Move]:
    if not files.path:
        yield "creates it", "open", files.fresh, {"path": files.fresh, "fresh": files.fresh + 1}
        return
    yield "opens it", "open", files.path, {}
    if mistake == "unlink without holding":
        yield "unlinks it", "start", 0, {"path": 0}


def _ends(files: Files, inode: int, mistake: str) -> Iterator[Move]:
    yield "unlocks it", "unlinks" if mistake == "unlock, then unlink" else "start", 0, {}
    if inode == files.path:
        aside = files.aside | {inode} if mistake == "rename it aside" else files.aside
        after = "works" if mistake == "go on after the unlink" else "removed"
        yield "removes it while it holds it", after, inode, {"path": 0, "aside": aside}
