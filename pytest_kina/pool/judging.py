"""What becomes of a cluster that nobody holds, and why: one answer for the sweep and for those who explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pytest_kina.pool import records
from pytest_kina.pool.locks import is_alive
from pytest_kina.pool.records import Record, State
from pytest_kina.pool.root import Root
from pytest_kina.pool.status import age


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether the cluster stays, and one sentence that says why."""

    decision: Literal["keep", "delete"]
    why: str


def judge(
    root: Root, number: int, record: Record, *, run: str, check: Callable[[Record], str | None], force: bool = False
) -> Judgement:
    """Judge the cluster of a slot whose lock is free, or held by the one who asks, who is ``run``.

    ``check`` says why a cluster is of no use any more, or None; it is asked last, and only about clusters that would
    stay. ``force``: nothing stays that nobody uses, except what a test run has kept for a person.
    """
    if record.state is State.DOOMED:
        return _delete(record.last_error or "it was left unfinished, or it was to be deleted")
    if users := [user for user in record.users if is_alive(root.processes, user)]:
        pids = ", ".join(user.split(".")[1] for user in users)
        return _keep(f"shared by processes {pids} of run {record.run}")
    if record.kept:
        return _keep(f"{record.last_error}; `pytest-kina down {record.cluster}` deletes it")
    if record.state is State.QUARANTINED:
        if record.run == run:
            return _keep(f"this run has tried to delete it: {record.last_error}")
        return _delete(f"one more try; it could not be deleted before: {record.last_error}")
    return _judge_idle(root, number, record, check, force=force)


def alive(root: Root, run: str) -> list[str]:
    """The process locks that living processes of a run hold, by name."""
    names = sorted(path.name.removesuffix(".lock") for path in root.processes.glob(f"{run}.*.lock"))
    return [name for name in names if is_alive(root.processes, name)]


def is_over(root: Root, number: int, record: Record) -> str | None:
    """Why the time of a cluster that nobody uses is over: too long idle, or its run keeps nothing; else None."""
    idle = records.idle_seconds(root.slots, number, record)
    if record.ttl > 0:
        return f"idle for {age(idle)} of {age(record.ttl)}" if idle >= record.ttl else None
    return None if alive(root, record.run) else f"run {record.run}, which keeps nothing, is over"


def _judge_idle(
    root: Root, number: int, record: Record, check: Callable[[Record], str | None], *, force: bool
) -> Judgement:
    if force:
        return _delete("nobody uses it, and --force asks for it")
    if over := is_over(root, number, record):
        return _delete(over)
    if dead := check(record):
        return _delete(f"it is dead: {dead}")
    if not record.ttl:
        return _keep(f"run {record.run} goes on")
    idle = f"idle for {age(records.idle_seconds(root.slots, number, record))} of {age(record.ttl)}"
    return _keep(idle if record.state is State.READY else f"{idle}; it is reset before its next use")


def _keep(why: str) -> Judgement:
    return Judgement(decision="keep", why=why)


def _delete(why: str) -> Judgement:
    return Judgement(decision="delete", why=why)
