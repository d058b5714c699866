"""Label selectors in kwok's words."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kina.cluster.simulating import stages
from pytest_kina.cluster.simulating.selectors import expressions

APP = '.metadata.labels["app"]'


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", [{"key": APP, "operator": "In", "values": ["web"]}]),
        ("app == web", [{"key": APP, "operator": "In", "values": ["web"]}]),
        ("app!=web", [{"key": APP, "operator": "NotIn", "values": ["web"]}]),
        ("app=", [{"key": APP, "operator": "In", "values": [""]}]),
        ("app", [{"key": APP, "operator": "Exists"}]),
        ("!app", [{"key": APP, "operator": "DoesNotExist"}]),
        ("app in (a, b)", [{"key": APP, "operator": "In", "values": ["a", "b"]}]),
        ("app notin (a)", [{"key": APP, "operator": "NotIn", "values": ["a"]}]),
        (
            "app in (a,b), tier!=db",
            [
                {"key": APP, "operator": "In", "values": ["a", "b"]},
                {"key": '.metadata.labels["tier"]', "operator": "NotIn", "values": ["db"]},
            ],
        ),
        (
            "app.kubernetes.io/name=web",
            [{"key": '.metadata.labels["app.kubernetes.io/name"]', "operator": "In", "values": ["web"]}],
        ),
        ("*", []),
    ],
)
def test_every_form_of_requirement_is_understood(selector: str, expected: list[dict[str, Any]]) -> None:
    """Equality, sets and existence, as kubectl takes them; a star means everything."""
    assert expressions(selector) == expected


@pytest.mark.parametrize(
    ("selector", "named"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("app=web,", "''"),
        ("app>1", "'app>1'"),
        ("app in a", "'app in a'"),
        ("app in (a,b", "app in "),
        ('app="] | halt', 'app="'),
        ("app=web tier=db", "'app=web tier=db'"),
    ],
)
def test_what_is_no_selector_is_named(selector: str, named: str) -> None:
    """The part that is wrong is in the message; nothing of it could reach kwok's query language."""
    with pytest.raises(ValueError, match=r"empty|no label requirement") as caught:
        expressions(selector)
    assert named in str(caught.value)


def test_simulations_outweigh_what_is_usual_and_cleaning_up_does_not() -> None:
    """Stages of a simulation have a weight; those that stay after it have none."""
    made = [
        *stages.failing([], "ErrImagePull"),
        *stages.slow([], 1),
        *stages.crashing([], backoff=1, exit_code=1),
        *stages.node_down("n"),
        *stages.claims([], None),
    ]
    assert {stage["spec"]["weight"] for stage in made} == {1}
    assert not any("weight" in stage["spec"] for kind in stages.COMMON.values() for stage in kind)


@pytest.mark.parametrize(("seconds", "added"), [(0.1, 2), (1, 2), (1.5, 3), (60, 61)])
def test_a_slow_start_lasts_at_least_as_long_as_asked(seconds: float, added: int) -> None:
    """A start time has whole seconds, so up to one more second passes, never less."""
    (delayed,) = [stage["spec"]["delay"] for stage in stages.slow([], seconds) if "delay" in stage["spec"]]
    assert f"+ {added} |" in delayed["durationFrom"]["jq"]["expression"]


def test_what_another_stage_follows_goes_on_without_an_event() -> None:
    """No event tells when kwok plays an outdated sight of an object again: links of a chain must not wait for one."""
    begin, go_on = stages.slow([], 1)
    links = [begin, *stages.crashing([], backoff=1, exit_code=1)]
    assert all(stage["spec"]["immediateNextStage"] for stage in links)
    assert not any("immediateNextStage" in stage["spec"] for stage in (go_on, *stages.failing([], "ErrImagePull")))
