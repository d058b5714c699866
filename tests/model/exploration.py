"""Breadth-first exploration of a model: every reachable world, the shortest story to a wrong one, and dead ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tests.model.pool_model import Cluster, Model, Record, World

LIMIT = 3_000_000


class Outcome(NamedTuple):
    """How many worlds there are, what is wrong (None: nothing), and the steps that lead there."""

    worlds: int
    wrong: str | None
    story: list[str]


Trail = dict[World, tuple[World, str] | None]


def explore(model: Model) -> Outcome:
    """Look at every world that can be reached; then walk back from the good ones to find those that cannot get there."""
    trail: Trail = {model.start: None}
    back: dict[World, list[World]] = {}
    queue = deque([model.start])
    while queue:
        world = queue.popleft()
        for text, after, fault, wrong in model.steps(world):
            if not fault:
                back.setdefault(after, []).append(world)
            why = wrong
            if after not in trail:
                trail[after] = (world, text)
                queue.append(after)
                why = why or model.wrong(after)
            if why:
                return Outcome(len(trail), why, [*_story(trail, world), text])
        assert len(trail) < LIMIT, "the exploration did not come to its end"
    return _dead_end(model, trail, back) or Outcome(len(trail), None, [])


def _story(trail: Trail, world: World) -> list[str]:
    steps = []
    while (before := trail[world]) is not None:
        world, text = before
        steps.append(text)
    return steps[::-1]


def _dead_end(model: Model, trail: Trail, back: dict[World, list[World]]) -> Outcome | None:
    for what, goal, expected in _goals(model):
        good = {world for world in trail if goal(world)}
        queue = deque(good)
        while queue:
            new = [world for world in back.get(queue.popleft(), ()) if world not in good]
            good.update(new)
            queue.extend(new)
        for world in trail:
            if world not in good and expected(world) and all(each.mode != "S" for each in world.processes):
                return Outcome(len(trail), what, _story(trail, world))
    return None


Test = Callable[[World], bool]


def _goals(model: Model) -> list[tuple[str, Test, Test]]:
    def tidy(world: World) -> bool:
        resting = all(each.slot < 0 and not each.build and each.at in ("idle", "home") for each in world.processes)
        return resting and all(rests(*pair) for pair in zip(world.records, world.clusters, strict=True))

    def rests(record: Record | None, cluster: Cluster | None) -> bool:
        if record is None or record.state == "QUARANTINED":
            return True
        if model.warm:  # nobody asks for it any more: it may wait for its reset, but only the living are worth it
            return record.state in ("READY", "DIRTY") and cluster is not None and cluster.content != "broken"
        return record.state == "READY"

    def usable(world: World) -> bool:
        hopeless = [
            r and (r.kept or r.state == "QUARANTINED" or (r.state == "DOOMED" and r.tries >= model.tries))
            for r in world.records
        ]
        return not all(hopeless)

    def served(index: int) -> Test:
        return lambda world: world.processes[index].at in ("using", "sharing")

    goals: list[tuple[str, Test, Test]] = [("no tidy state can be reached", tidy, lambda _: True)]
    if model.warm:
        return goals
    askers = [index for index, role in enumerate(model.roles) if role.wants in ("exclusive", "shared", "fresh")]
    return goals + [(f"P{index} can never be served", served(index), usable) for index in askers]
