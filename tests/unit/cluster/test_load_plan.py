"""What a load consists of: the same for the same seed, spread as planned, refused when it makes no sense."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kina.load import LoadPlan
from pytest_kina.load.operations import CHURNED, Operation, Operations

PLANS = st.builds(
    LoadPlan,
    namespaces=st.integers(1, 4),
    deployments=st.integers(0, 3),
    pods=st.integers(0, 5),
    config_maps=st.integers(1, 5),
    events=st.integers(0, 3),
    custom_resources=st.integers(0, 5),
    size=st.integers(0, 50),
    seed=st.integers(0, 5),
)


def all_of(plan: LoadPlan, rounds: int = 4) -> list[Operation]:
    """Everything that is made, and the first changes."""
    operations = Operations(plan)
    return [*operations.creations(), *(one for each in islice(operations.rounds(), rounds) for one in each)]


@given(PLANS)
def test_the_same_plan_makes_the_same_requests(plan: LoadPlan) -> None:
    """Names, contents and order are decided by the plan alone; another seed makes others."""
    assert all_of(plan) == all_of(LoadPlan(**plan.to_json()))
    other = LoadPlan(**{**plan.to_json(), "seed": plan.seed + 1, "size": 50})
    assert all_of(other) != all_of(LoadPlan(**{**plan.to_json(), "size": 50}))


@given(PLANS)
def test_changes_fit_what_is_there(plan: LoadPlan) -> None:
    """Every change is of an object that exists then, none comes twice within a round, and their number stays."""
    there: set[str] = set()
    operations = Operations(plan)

    def play(method: str, path: str, body: dict[str, Any] | None) -> None:
        path = path.partition("?")[0]
        if method == "POST":
            assert body is not None
            path = f"{path}/{body['metadata']['name']}"
            assert path not in there
            there.add(path)
        else:
            assert path in there
            if method == "DELETE":
                there.remove(path)

    for operation in operations.creations():
        for request in operation.requests:
            play(*request)
    assert len(there) == plan.objects
    for one_round in islice(operations.rounds(), 4):
        touched = Counter(operation.requests[0][1] for operation in one_round)
        assert max(touched.values()) == 1
        assert len(one_round) == sum(plan.counts.get(kind, 0) for kind in CHURNED)
        for operation in one_round:
            for request in operation.requests:
                play(*request)
        assert len(there) == plan.objects


def test_objects_are_spread_and_as_large_as_planned() -> None:
    """Over all namespaces alike; the payload has exactly so many bytes."""
    plan = LoadPlan(namespaces=3, config_maps=7, size=33)
    bodies = [(path, body) for one in Operations(plan).creations() for _, path, body in one.requests]
    places = Counter(path.split("/")[4] for path, _ in bodies)
    assert places == {"load-0": 3, "load-1": 2, "load-2": 2}
    assert {len(body["data"]["payload"]) for _, body in bodies if body} == {33}
    assert len({json.dumps(body) for _, body in bodies}) == 7


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({}, ["nothing to make"]),
        ({"pods": -1, "namespaces": 0}, ["pods: expected", "namespaces: expected"]),
        ({"pods": 1, "name": "No"}, ["DNS label of at most 52 characters, got 'No'"]),
        ({"deployments": 1000, "replicas": 1000}, ["more than 200,000"]),
        ({"pods": 1, "churn": 1.0}, ["go together"]),
        ({"pods": 1, "churn": -1.0, "seconds": -1.0}, ["go together"]),
        ({"pods": 1, "size": 1_000_000}, ["size: expected a whole number from 0 to 900000"]),
    ],
)
def test_a_plan_that_makes_no_sense_names_all_that_is_wrong(keys: dict[str, Any], named: list[str]) -> None:
    """One error for all wrong values, each with what was expected."""
    with pytest.raises(ValueError, match=r".") as caught:
        LoadPlan(**keys)
    assert all(each in str(caught.value) for each in named)
