"""Pools on small disks of their own: ``unshare --mount python -m tests.support.pool_disks <story> <directory>``.

The mounts are in a private name space, so they end with the process, however it ends. Prints what happened as JSON.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_kina.errors import StateError
from pytest_kina.pool import open_root
from tests.support.pool_kit import Kit


def mount(path: Path, options: str) -> None:
    """A small disk in memory at ``path``."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def full(disk: Path) -> dict[str, Any]:
    """Ask on a full disk, make room, ask again."""
    mount(disk, "size=256k,mode=0700")
    kit = Kit(disk / "root", lease_timeout=0.2)
    fill(disk / "ballast")
    try:
        kit.lease()
        said = ""
    except StateError as error:
        said = str(error)
    left = [kit.clusters(), kit.states(), [each.held for each in kit.pool.status()]]
    (disk / "ballast").unlink()
    healed = kit.lease().start
    kit.pool.close()
    return {"said": said, "left": left, "healed": healed}


def cleaned(disk: Path) -> dict[str, Any]:
    """Delete clusters while nothing can be written."""
    mount(disk, "size=256k,mode=0700")
    kit = Kit(disk / "root", ttl=0.0)
    kit.lease("fresh").release()
    fill(disk / "ballast")
    before = kit.clusters()
    kit.pool.retire()
    return {"before": before, "left": [kit.clusters(), kit.states()]}


def read_only(disk: Path) -> dict[str, Any]:
    """Open a root that was made before its disk became read-only, and one that was not."""
    mount(disk, "size=256k,mode=0700")
    open_root(disk / "root")
    mount_again = ["mount", "-o", "remount,ro", str(disk)]
    subprocess.run(mount_again, check=True)
    said = {}
    for name in ("root", "other"):
        try:
            open_root(disk / name)
        except StateError as error:
            said[name] = str(error)
    return said


if __name__ == "__main__":
    story = {"full": full, "cleaned": cleaned, "read_only": read_only}[sys.argv[1]]
    sys.stdout.write(json.dumps(story(Path(sys.argv[2]))))
