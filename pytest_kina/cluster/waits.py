"""Waiting for the cluster to be as a test needs it, and saying why it is not when the time is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytest_kina.cluster import conditions
from pytest_kina.cluster.api import Api
from pytest_kina.cluster.explanations import explain
from pytest_kina.cluster.watching import Key, Target, View, changes
from pytest_kina.errors import WaitTimeoutError
from pytest_kina.waiting import Deadline

Until = Callable[[dict[str, Any]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must be true of each object, or (``deleted``) that it is gone."""

    condition: str | None = None
    until: Until | None = None
    deleted: bool = False
    exists: bool = False

    def __str__(self) -> str:
        if self.deleted:
            return "be deleted"
        if self.until is not None:
            name = getattr(self.until, "__name__", "<lambda>")
            return f"satisfy {'the function' if name == '<lambda>' else name}"
        return "exist" if self.exists else f"be {self.condition or 'ready'}"

    def reached(self, item: dict[str, Any]) -> bool:
        """True when ``item`` is as wanted. Raises what ``until`` raises."""
        if self.until is not None:
            return bool(self.until(item))
        if self.condition is not None:
            return conditions.has_condition(item, self.condition)
        return self.exists or conditions.is_ready(item)

    def hopeless(self, item: dict[str, Any]) -> str | None:
        """Why waiting for ``item`` is in vain, or None."""
        return None if self.until or self.exists else conditions.hopeless(item, self.condition)


@dataclass(slots=True)
class _Tally:
    """Which objects have reached the goal. Judges what has changed only: a thousand objects change often."""

    goal: Goal
    count: int | None
    single: bool
    reached: set[Key] = field(default_factory=set)
    first: dict[Key, str] | None = None
    trouble: str = ""

    def done(self, view: View) -> bool:
        if self.goal.deleted:
            return self._gone(view)
        for key in view.touched:
            item = view.objects.get(key)
            (self.reached.add if item and self._judge(item) else self.reached.discard)(key)
        if self.count is not None:
            return len(self.reached) == self.count
        return bool(view.objects) and len(self.reached) == len(view.objects)

    def _judge(self, item: dict[str, Any]) -> bool:
        """A key that ``until`` does not find is not there *yet*; the message at the time-out has the last error."""
        try:
            return self.goal.reached(item)
        except (LookupError, TypeError) as error:
            if self.goal.until is None:
                raise
            self.trouble = f"; the function raised {error!r} last"
            return False

    def _gone(self, view: View) -> bool:
        """An object with the same name and another uid is another object."""
        uids = {key: item["metadata"]["uid"] for key, item in view.objects.items()}
        if self.first is None:
            self.first = uids
        return not any(uids.get(key) == uid for key, uid in self.first.items())

    def hopeless(self, view: View) -> str | None:
        if not self.single:
            return None
        return next((why for item in view.objects.values() if (why := self.goal.hopeless(item))), None)


def wait_for(
    api: Api,
    target: Target,
    *,
    condition: str | None = None,
    until: Until | None = None,
    deleted: bool = False,
    count: int | None = None,
    deadline: Deadline,
) -> Any:
    """Watch ``target`` until it is as wanted; return the object, or the list of objects that are (deleted: None).

    Raises :class:`~pytest_kina.errors.WaitTimeoutError` at the deadline, or as soon as it cannot happen any more,
    and :class:`ValueError` for wishes that exclude each other.
    """
    if sum((condition is not None, until is not None, deleted)) > 1 or (deleted and count is not None):
        raise ValueError("give one of condition, until and deleted; count goes with the first two")
    if count is not None and target.name:
        raise ValueError(f"count is for collections, and {target.subject} is one object")
    exists = count is not None and condition is None and until is None
    goal = Goal(condition=condition, until=until, deleted=deleted, exists=exists)
    tally = _Tally(goal=goal, count=count, single=target.name is not None)
    view = View()
    for view in changes(api, target, deadline):
        if tally.done(view):
            return _result(target, tally, view)
        if why := tally.hopeless(view):
            raise _in_vain(api, target, tally, view, f"after {deadline.elapsed:.1f} s {why}")
    raise _in_vain(api, target, tally, view, f"did not within {deadline.seconds:g} s")


def _result(target: Target, tally: _Tally, view: View) -> Any:
    if tally.goal.deleted:
        return None
    found = [view.objects[key] for key in sorted(tally.reached)]
    return found[0] if target.name else found


def _in_vain(api: Api, target: Target, tally: _Tally, view: View, outcome: str) -> WaitTimeoutError:
    wanted = f"{tally.count} to {tally.goal}" if tally.count is not None else f"to {tally.goal}"
    where = f" in namespace {target.namespace}" if target.namespace else ""
    short = [item for key, item in view.objects.items() if key not in tally.reached]
    seen = len(view.objects)
    have = f"; {len(tally.reached)} of {seen} have" if seen and not target.name else ""
    why = explain(api, target, short, seen=seen)
    return WaitTimeoutError(
        f"waited for {target.subject}{where} {wanted}: {outcome}{have}{tally.trouble}\n{why}",
        next_step="compare the last status with what was waited for; a longer timeout= helps only if it was moving",
        reason="Timeout",
        body=short[0] if short else {},
    )
