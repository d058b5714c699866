"""Rules of a project: what they take, what they refuse, and when they are broken."""

from __future__ import annotations

import pytest

from pytest_kina.alerts import broken, rules
from pytest_kina.errors import SettingsError
from pytest_kina.report.series import comparable
from pytest_kina.timing import Phase
from tests.support.outcomes import event, lives

SERIES = comparable(lives(5))  # create: 1.00, 1.01, … 1.04 s


@pytest.mark.parametrize(
    ("statistic", "value"), [("min", 1.0), ("median", 1.02), ("mean", 1.02), ("max", 1.04), ("p95", 1.04)]
)
def test_a_rule_is_broken_above_its_limit_only(statistic: str, value: float) -> None:
    """The statistic is the one that was asked for, and the limit itself is allowed."""
    below, above = (
        rules([{"phase": "create", "statistic": statistic, "limit": f"{limit * 1000:.0f}ms"}], "here")
        for limit in (value - 0.005, value + 0.005)
    )
    (alert,) = broken(below, SERIES)
    assert alert.value == pytest.approx(value)
    assert (alert.n, alert.fails) == (5, False)
    assert broken(above, SERIES) == []


def test_a_rule_may_be_for_one_provider() -> None:
    """Other providers' clusters do not break it."""
    table = {"phase": "create", "limit": "1ms", "provider": "kind", "action": "fail"}
    assert broken(rules([table], "here"), SERIES) == []
    (alert,) = broken(rules([table | {"provider": "embedded"}], "here"), SERIES)
    assert alert.fails


def test_what_was_never_measured_breaks_nothing() -> None:
    """A phase whose only attempt failed has no statistic."""
    failed = comparable([event(Phase.CREATE, 60.0, ok=False)])
    assert broken(rules([{"phase": "create", "limit": "1s"}], "here"), failed) == []


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"limit": "1s"}, "phase: expected one of binaries, "),
        ({"phase": "boot", "limit": "1s"}, "got 'boot'"),
        ({"phase": "create"}, "limit: expected a duration like '5s', got None"),
        ({"phase": "create", "limit": 5}, "limit: expected a duration like '5s', got 5"),
        ({"phase": "create", "limit": "0"}, "limit: expected a duration"),
        ({"phase": "create", "limit": "1s", "statistic": "p50"}, "statistic: expected one of median, mean"),
        ({"phase": "create", "limit": "1s", "action": "mail"}, "action: expected one of warn, fail"),
        ({"phase": "create", "limit": "1s", "provider": 3}, "provider: expected a name"),
        ({"phase": "create", "limit": "1s", "extra": 3}, "unknown key 'extra'"),
    ],
)
def test_wrong_rules_are_refused_with_their_place(table: dict[str, object], problem: str) -> None:
    """The message names the file, the rule and what is expected."""
    with pytest.raises(SettingsError) as caught:
        rules([{"phase": "create", "limit": "1s"}, table], "pyproject.toml")
    assert "pyproject.toml: rule 2: " in str(caught.value)
    assert problem in str(caught.value)
