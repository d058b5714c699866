"""What killed processes leave beside the slots: free lock files, counts of builds, half-written files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pytest_kina.errors import StateError
from pytest_kina.pool.locks import drop_file, try_lock
from pytest_kina.pool.root import OFFER, PROBES, Root

_COUNT_AGE = 86_400.0  # seconds after which the count of failed builds is nobody's business any more


def sweep(root: Root) -> list[str]:
    """Remove what no living process holds. Waits for nobody; a file that somebody may still need stays.

    Returns a sentence for each file that could not be removed; such a file is no reason to stop.
    """
    locks = (*root.processes.glob("*.lock"), *root.builds.glob("*.lock"), *root.path.glob(PROBES))
    return [
        # The pool has a name by now: who still offers one looks again when its offer is gone.
        *_each(_half_written(root.path), partial(Path.unlink, missing_ok=True)),
        *_each(root.builds.glob(".*.json.*.tmp"), _half_a_count),
        *_each(locks, _lock_of_the_dead),
        *_each(root.builds.glob("*.json"), _old_count),
    ]


def _each(paths: Iterable[Path], remove: Callable[[Path], object]) -> list[str]:
    said: list[str] = []
    for path in paths:
        try:
            remove(path)
        except FileNotFoundError:
            continue
        except (StateError, OSError) as error:
            said.append(f"{path} cannot be removed: {error}")
    return said


def _half_written(root: Path) -> tuple[Path, ...]:
    return (*root.glob(f"{OFFER}*"), *root.glob(f".{OFFER}*.tmp"), *root.glob(".pool.json.*.tmp"))


def _half_a_count(path: Path) -> None:
    key = path.with_name(path.name[1:].partition(".json.")[0])
    lock_path = key.with_name(f"{key.name}.lock")
    # Only the holder of the build lock writes the count.
    if (lock := try_lock(lock_path)) is not None:
        path.unlink(missing_ok=True)
        drop_file(lock, lock_path)


def _lock_of_the_dead(path: Path) -> None:
    if (lock := try_lock(path)) is not None:
        drop_file(lock, path)


def _old_count(path: Path) -> None:
    if time.time() - path.stat().st_mtime > _COUNT_AGE:
        path.unlink()
