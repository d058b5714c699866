"""The second look at what failed, and what a judgement means for a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kina.gate import (
    History,
    Judgement,
    Measurements,
    Mode,
    Name,
    Rules,
    SeriesSamples,
    Verdict,
    confirm,
    exit_code,
    judge,
    lines,
)
from tests.support.gate_runs import MACHINE, STEADY, around, history, measurements, name, series, steady

RULES = Rules()


def _first(past: History) -> Judgement:
    return judge(measurements(series("create", *around(2.0))), past, RULES)


def _confirmed(again: Measurements) -> Judgement:
    past = steady()
    return confirm(_first(past), again, past, RULES)


def test_slow_twice_fails() -> None:
    """What regressed both times is confirmed, and both medians are said."""
    judgement = _confirmed(measurements(series("create", *around(2.1)), run="again"))
    assert judgement.failed
    assert judgement.verdicts[0].name is Name.REGRESSED
    assert "2.00 s" in judgement.verdicts[0].reason
    assert "confirmed, measured again, 5 samples: 2.10 s" in judgement.verdicts[0].reason


def test_slow_once_is_unstable_and_does_not_fail() -> None:
    """What was fine at the second look is no regression."""
    judgement = _confirmed(measurements(series("create", *around(1.0)), run="again"))
    assert not judgement.failed
    assert judgement.verdicts[0].name is Name.UNSTABLE
    assert "not confirmed, measured again, 5 samples: 1.00 s" in judgement.verdicts[0].reason


@pytest.mark.parametrize("again", [(), (series("create", 1.0, 1.0),), (series("delete"),)])
def test_what_could_not_be_measured_again_keeps_failing(again: tuple[object, ...]) -> None:
    """A regression so slow that it eats the budget for measuring again must not pass for that."""
    judgement = _confirmed(Measurements(machine="m", run="again", series=again))  # type: ignore[arg-type]
    assert judgement.failed
    assert "could be measured again" in judgement.verdicts[0].reason


def _beside(one: SeriesSamples) -> SeriesSamples:
    """The same series, measured beside another cluster."""
    return replace(one, fullname=one.fullname.replace("-c1]", "-c2]"), concurrency="2")


@pytest.mark.parametrize(("median", "failed", "said"), [(2.1, True, "confirmed"), (1.0, False, "not confirmed")])
def test_a_series_beside_others_is_measured_again_alone(median: float, failed: bool, said: str) -> None:
    """Further clusters are made one at a time, so the series of those decides, when it has a baseline."""
    both = [[series("create", *around(one)), _beside(series("create", *around(one)))] for one in STEADY]
    first = judge(measurements(_beside(series("create", *around(2.0)))), history(*both), RULES)
    assert first.candidates == (name("create").replace("-c1]", "-c2]"),)
    again = measurements(series("create", *around(median)))
    judgement = confirm(first, again, history(*both), RULES)
    assert judgement.failed is failed
    assert f"; {said}, measured again, alone, 5 samples: {median:.2f} s" in judgement.verdicts[0].reason


def test_a_series_alone_without_a_baseline_acquits_nobody() -> None:
    """Nor does it tell whether a budget is kept beside other clusters."""
    past = history(*([_beside(series("create", *around(one)))] for one in STEADY))
    for slow in (2.0, 11.0):
        first = judge(measurements(_beside(series("create", *around(slow)))), past, RULES)
        judgement = confirm(first, measurements(series("create", *around(1.0))), past, RULES)
        assert judgement.failed
        assert "only 0 samples could be measured again" in judgement.verdicts[0].reason
    both = history(*([series("create"), _beside(series("create"))] for _ in STEADY))
    first = judge(measurements(_beside(series("create", *around(11.0)))), both, RULES)
    assert first.verdicts[0].name is Name.OVER_BUDGET
    assert confirm(first, measurements(series("create")), both, RULES).failed


def test_a_budget_is_confirmed_like_a_regression() -> None:
    """Over the budget twice fails, once does not."""
    past = steady()
    first = judge(measurements(series("create", *around(11.0))), past, RULES)
    assert first.verdicts[0].name is Name.OVER_BUDGET
    for median, failed in ((11.0, True), (1.0, False)):
        assert confirm(first, measurements(series("create", *around(median))), past, RULES).failed is failed


def test_verdicts_that_did_not_fail_stay_as_they_are() -> None:
    """The second measuring is asked about candidates only."""
    past = history(*([series("create", *around(one)), series("delete", *around(one))] for one in STEADY))
    first = judge(measurements(series("create", *around(2.0)), series("delete", *around(1.0))), past, RULES)
    again = measurements(series("create", *around(2.0)), series("delete", *around(9.0)))
    judgement = confirm(first, again, past, RULES)
    assert judgement.verdicts[1] == first.verdicts[1]
    assert judgement.candidates == (name("create"),)


_PHASES = ("create", "startup", "delete", "reset", "install")


def test_another_machine_can_confirm_what_a_slow_machine_excused() -> None:
    """When everything is slower on a second machine too, it was not the machine; when it is not, it was."""
    past = history(*([series(phase, *around(one)) for phase in _PHASES] for one in STEADY))
    first = judge(measurements(*(series(phase, *around(1.5)) for phase in _PHASES)), past, RULES)
    assert not first.failed
    slow, quick = (measurements(*(series(phase, *around(median)) for phase in _PHASES)) for median in (1.5, 1.0))
    assert confirm(first, slow, past, RULES, other_runner=True).candidates == tuple(map(name, _PHASES))
    assert not confirm(first, quick, past, RULES, other_runner=True).failed
    assert not confirm(first, slow, past, RULES).failed


@pytest.mark.parametrize(
    ("mode", "fine", "failed", "nothing"), [("off", 0, 0, 0), ("warn", 0, 0, 0), ("fail", 0, 1, 2)]
)
def test_exit_codes(mode: Mode, fine: int, failed: int, nothing: int) -> None:
    """0 fine, 1 regressed or over budget, 2 no usable data; only in the mode that fails."""
    past = steady()
    judgements = (
        judge(measurements(series()), past, RULES),
        _first(past),
        judge(measurements(series(), incomplete=("broken",)), past, RULES),
    )
    assert [exit_code(one, mode) for one in judgements] == [fine, failed, nothing]


def test_the_text_begins_with_what_failed_and_ends_with_the_outcome() -> None:
    """The last line is the one that people see."""
    past = history(*([series("create", *around(one)), series("delete", *around(one))] for one in STEADY))
    judgement = judge(measurements(series("create"), series("delete", *around(2.5))), past, RULES)
    text = lines(replace(judgement, notes=("something about the run",)), "fail")
    assert text[0].split() == ["verdict", "series", "n", "median", "baseline", "change", "limit", "budget"]
    assert text[1].startswith("REGRESSED !")
    assert "delete" in text[1]
    assert "+150 %" in text[1]
    assert text[-2] == "note: something about the run"
    assert text[-1] == f"gate FAILED: 1 of 2 series: {name('delete')}"
    assert "would fail (mode warn)" in lines(judgement, "warn")[-1]


def test_the_text_of_a_good_run_is_short() -> None:
    """A table, and one line that says that all is well."""
    text = lines(judge(measurements(series()), steady(), RULES), "fail")
    assert len(text) == 3
    assert text[-1] == "gate passed: 1 series"


def test_the_text_of_an_incomplete_run_does_not_say_passed() -> None:
    """What was not judged has not passed."""
    judgement = judge(measurements(series(), incomplete=("broken",)), steady(), RULES)
    text = lines(judgement, "fail")
    assert text[-1] == "gate: nothing could be judged"
    assert sum("broken" in line for line in text) == 1


def test_a_reason_that_several_series_share_is_said_once() -> None:
    """A first run has one sentence about all its series, not one for each."""
    found = judge(measurements(series("create"), series("delete")), History(machine=MACHINE), RULES)
    assert lines(found, "fail")[3:-1] == [f"NEW: {name('create')}, {name('delete')}: no earlier run has this series"]


def test_verdicts_survive_json() -> None:
    """A stored verdict is read back as it was."""
    (verdict,) = _first(steady()).verdicts
    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize("change", [{"name": "PERFECT"}, {"numbers": None}, {"extra": 1}, {"warnings": 3}])
def test_what_is_no_verdict_is_refused(change: dict[str, object]) -> None:
    """Foreign documents are an error of one kind."""
    (verdict,) = _first(steady()).verdicts
    with pytest.raises(ValueError, match=r"verdict|Name"):
        Verdict.from_json(verdict.to_json() | change)
