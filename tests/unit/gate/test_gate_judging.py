"""The rule: which verdict a series gets, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kina.gate import History, Judgement, Name, Rules, SeriesSamples, StoredRun, Verdict, judge, short
from pytest_kina.gate.rules import BUDGETS, floor
from pytest_kina.gate.text import lines
from tests.support.gate_runs import MACHINE, STEADY, around, history, measurements, name, series, steady

RULES = Rules()


def _one(judgement: Judgement) -> Verdict:
    (verdict,) = judgement.verdicts
    return verdict


def _judged(*seconds: float, past: History | None = None, rules: Rules = RULES, **fields: object) -> Verdict:
    run = measurements(series("create", *seconds, **fields))
    return _one(judge(run, steady() if past is None else past, rules))


def test_a_run_like_the_others_is_ok() -> None:
    """Nothing moved: OK, with the numbers that say so."""
    verdict = _judged(*around(1.01))
    assert (verdict.name, verdict.fails, verdict.warnings) == (Name.OK, False, ())
    numbers = verdict.numbers
    assert (numbers.n, numbers.baseline_runs, numbers.budget) == (5, 10, 10.0)
    assert numbers.median == pytest.approx(1.01)
    assert numbers.baseline == pytest.approx(1.0)
    assert numbers.ratio == pytest.approx(1.01)
    assert numbers.floor == pytest.approx(0.1)
    assert numbers.limit is not None
    assert 1.0 < numbers.limit < 1.2


def test_a_doubling_is_a_regression_that_fails() -> None:
    """Twice as slow fails, and the sentence has both medians, the change, the limit and the number of runs."""
    verdict = _judged(*around(2.0))
    assert (verdict.name, verdict.fails) == (Name.REGRESSED, True)
    for part in ("median 2.00 s", "+100 %", "against 1.00 s of 10 runs", "limit 1.0"):
        assert part in verdict.reason


@pytest.mark.parametrize(
    ("median", "past", "why"),
    [
        (1.19, STEADY, "above the limit, but by no more than 20% of what is usual"),
        (1.5, (1.0, 1.6, 0.7, 1.3, 0.8, 1.5, 0.9, 1.2, 0.75, 1.1), ""),  # within the limit of a noisy history
        (
            0.026,
            [0.013 + at / 10000 for at in range(10)],
            "above the limit, but by no more than 30.0 ms, the least difference that counts here",
        ),
    ],
)
def test_each_of_the_three_conditions_alone_keeps_a_series_from_failing(
    median: float, past: tuple[float, ...], why: str
) -> None:
    """Ratio, prediction limit and floor must all be exceeded; a median above its limit is OK with a reason."""
    verdict = _judged(*around(median), past=steady("create", *past))
    assert verdict.name is Name.OK
    assert verdict.reason.partition("; ")[2] == why
    assert any(
        "above the limit" in line for line in lines(Judgement(machine="m", verdicts=(verdict,)), "fail")
    ) == bool(why)


@pytest.mark.parametrize(
    ("provider", "baseline", "expected"),
    [("embedded", 0.1, 0.03), ("embedded", 2.0, 0.2), ("kind", 0.1, 0.5), ("kind", 20.0, 0.5)],
)
def test_the_floor_is_half_a_second_for_machines_and_a_tenth_for_processes(
    provider: str, baseline: float, expected: float
) -> None:
    """What a difference must have in seconds depends on the provider."""
    assert floor(provider, baseline) == pytest.approx(expected)


def test_slower_by_less_than_half_a_second_is_fine_for_a_virtual_machine() -> None:
    """The floor of the series' own provider counts."""
    past = steady("delete", provider="kind")
    run = measurements(series("delete", *around(1.45), provider="kind"))
    assert _one(judge(run, past, RULES)).name is Name.OK
    assert _one(judge(measurements(series("delete", *around(1.45))), steady("delete"), RULES)).name is Name.REGRESSED


def test_much_faster_is_an_improvement_that_never_fails() -> None:
    """Half the time is worth a word, and no failure."""
    verdict = _judged(*around(0.5))
    assert (verdict.name, verdict.fails) == (Name.IMPROVED, False)
    assert "accept" in verdict.reason


def test_a_median_over_the_budget_fails_without_any_history() -> None:
    """Budgets are absolute."""
    verdict = _judged(*around(10.5), past=History(machine=MACHINE))
    assert (verdict.name, verdict.fails) == (Name.OVER_BUDGET, True)
    assert "10.50 s" in verdict.reason
    assert "10.00 s" in verdict.reason


def test_one_sample_over_the_budget_only_warns() -> None:
    """The median is judged; what is near or over it now and then is said."""
    verdict = _judged(1.0, 1.0, 1.0, 1.0, 11.0)
    assert not verdict.fails
    assert any("1 of 5 samples are over the budget" in warning for warning in verdict.warnings)


def test_a_median_near_the_budget_warns() -> None:
    """From 85 % of the budget on it is said."""
    near = _judged(*around(9.0, 3), past=History(machine=MACHINE))
    far = _judged(*around(8.0, 3), past=History(machine=MACHINE))
    assert any("near the budget of 10.00 s" in warning for warning in near.warnings)
    assert far.warnings == ()


def test_providers_without_budgets_of_their_own_have_the_outer_limits() -> None:
    """30, 15, 5 and 10 seconds hold for everybody; the embedded provider's are tighter."""
    outer = {phase: RULES.budget("kiac", phase) for phase in ("create", "startup", "kubectl_ready", "delete")}
    assert outer == {"create": 30.0, "startup": 15.0, "kubectl_ready": 5.0, "delete": 10.0}
    assert all(limit < outer[phase] for phase, limit in BUDGETS["embedded"].items())
    assert RULES.budget("kiac", "reset") is None


def test_two_samples_are_too_few_to_fail_whatever_they_are() -> None:
    """Below three samples a series is shown only."""
    verdict = _judged(50.0, 60.0)
    assert (verdict.name, verdict.fails) == (Name.TOO_FEW, False)


def test_three_of_five_samples_are_too_few_for_ok_and_enough_for_a_regression() -> None:
    """A series that stays short does not count as fine, and a doubling does not hide behind that."""
    assert _judged(*around(1.0, 3)).name is Name.TOO_FEW
    assert _judged(*around(2.0, 3)).name is Name.REGRESSED


def test_short_series_are_said_loudly() -> None:
    """A note counts the series in which a regression can pass."""
    run = measurements(series("create", *around(1.0, 2)), series("delete"))
    notes = judge(run, steady(), RULES).notes
    assert any("1 of 2 series have fewer than 5 samples" in note for note in notes)


def test_a_series_of_failures_only_is_too_few_with_a_warning() -> None:
    """No attempt succeeded: there is nothing to compare, and the count is said."""
    run = measurements(replace(series("create"), seconds=(), failures=3))
    verdict = _one(judge(run, steady(), RULES))
    assert (verdict.name, verdict.numbers.failures, verdict.numbers.median) == (Name.TOO_FEW, 3, None)
    assert any("3 of 3 attempts failed" in warning for warning in verdict.warnings)


def test_the_first_run_is_new_and_passes() -> None:
    """Without a history there is nothing to fail."""
    verdict = _judged(past=History(machine=MACHINE))
    assert (verdict.name, verdict.fails) == (Name.NEW, False)


def test_a_missing_baseline_fails_when_one_is_required() -> None:
    """With require_baseline NEW and NOT-COMPARABLE fail, and measuring again cannot help."""
    rules = Rules(require_baseline=True)
    new = judge(measurements(series()), History(machine=MACHINE), rules)
    foreign = judge(measurements(series()), History(machine=MACHINE, others=("other",)), rules)
    assert [(one.verdicts[0].name, one.failed) for one in (new, foreign)] == [
        (Name.NEW, True),
        (Name.NOT_COMPARABLE, True),
    ]
    assert new.candidates == ()


def test_too_few_samples_do_not_hide_that_a_required_baseline_is_missing() -> None:
    """A run of single samples on an empty store fails too; a series that can never have a baseline does not."""
    rules = Rules(require_baseline=True)
    beside = replace(series("create", 1.0, concurrency="2"), fullname=name("create").replace("-c1]", "-c2]"))
    few = measurements(series("create", 1.0), beside, series("install", 1.0))
    alone, *others = judge(few, History(machine=MACHINE), rules).verdicts
    assert (alone.name, alone.fails) == (Name.TOO_FEW, True)
    assert "no baseline, which is required" in alone.reason
    assert [one.fails for one in others] == [False, False]
    assert not judge(measurements(series("create", 1.0)), steady(), rules).failed


def test_four_runs_are_a_baseline_that_is_still_learning() -> None:
    """Below five runs nothing fails; a large change is said."""
    verdict = _judged(*around(2.0), past=steady("create", *STEADY[:4]))
    assert (verdict.name, verdict.fails) == (Name.LEARNING, False)
    assert "much slower" in verdict.reason
    assert "much slower" not in _judged(*around(1.0), past=steady("create", *STEADY[:4])).reason


def test_the_fifth_run_makes_the_baseline_count() -> None:
    """From five runs on a regression fails."""
    assert _judged(*around(2.0), past=steady("create", *STEADY[:5])).fails


def test_runs_with_too_few_samples_are_no_baseline() -> None:
    """Single samples are no medians: their noise would widen the limit until a doubling fits below it."""
    runs = ([series("create", *(around(one) if at % 2 else (3.0 * one, 3.1)))] for at, one in enumerate(STEADY * 2))
    verdict = _judged(*around(2.0), past=history(*runs))
    assert (verdict.name, verdict.numbers.baseline_runs) == (Name.REGRESSED, 10)
    assert verdict.numbers.baseline == pytest.approx(1.0, abs=0.02)


def test_a_history_of_single_samples_is_none() -> None:
    """Earlier runs that cannot be compared with are said, and count as missing where a baseline is required."""
    past = history(*([series("create", 1.0)] for _ in STEADY))
    verdict = _judged(*around(2.0), past=past, rules=Rules(require_baseline=True))
    assert (verdict.name, verdict.fails) == (Name.NEW, True)
    assert "all 10 earlier runs have fewer than 3 samples" in verdict.reason


def test_only_the_last_ten_accepted_runs_count() -> None:
    """Older and rejected runs have no part in the limit."""
    slow = [[series("create", *around(5.0))]] * 5
    past = history(*slow, *([series("create", *around(one))] for one in STEADY))
    rejected = StoredRun.of(
        measurements(series("create", *around(5.0)), run="bad"), number=16, path=past.runs[0].path, accepted=False
    )
    numbers = _judged(*around(1.0), past=replace(past, runs=(*past.runs, rejected))).numbers
    assert numbers.baseline == pytest.approx(1.0)
    assert numbers.baseline_runs == 10


def test_samples_that_scatter_are_unstable() -> None:
    """A coefficient of variation above 40 % is said, and does not fail."""
    verdict = _judged(0.4, 0.6, 1.0, 1.6, 2.4)
    assert (verdict.name, verdict.fails) == (Name.UNSTABLE, False)
    assert "vary" in verdict.reason


@pytest.mark.parametrize("fields", [{"provider_minor": "0.2"}, {"version": 2}, {"runtime": "docker 29"}])
def test_another_provider_runtime_or_series_version_is_not_comparable(fields: dict[str, object]) -> None:
    """Samples of another meaning are no baseline, and the sentence names both."""
    verdict = _judged(*around(9.0), **fields)
    assert (verdict.name, verdict.fails) == (Name.NOT_COMPARABLE, False)
    assert "provider version 0.1, series version 1" in verdict.reason


def test_a_machine_that_the_store_does_not_know_is_not_comparable_and_said_so() -> None:
    """No silent pass on a machine whose key never appears: a verdict and a note name what there is."""
    judgement = judge(measurements(series()), History(machine=MACHINE, others=("gha-x",)), RULES)
    assert _one(judgement).name is Name.NOT_COMPARABLE
    assert any(MACHINE in note and "gha-x" in note for note in judgement.notes)


def test_a_series_that_is_gone_is_missing() -> None:
    """What most of the last runs had must not vanish unseen."""
    past = history(*([series("create"), series("delete")] for _ in range(5)))
    judgement = judge(measurements(series("create")), past, RULES)
    assert [(one.phase, one.name, one.fails) for one in judgement.verdicts][1] == ("delete", Name.MISSING, False)


def test_nothing_is_missing_from_a_run_of_chosen_tests() -> None:
    """A run with -k cannot be expected to have everything."""
    past = history(*([series("create"), series("delete")] for _ in range(5)))
    judgement = judge(measurements(series("create"), partial=("-k create",)), past, RULES)
    assert [one.phase for one in judgement.verdicts] == ["create"]


def test_what_only_a_few_runs_had_is_not_missing() -> None:
    """A series that comes and goes is not asked for."""
    past = history([series("create"), series("delete")], *([series("create")] for _ in range(4)))
    assert len(judge(measurements(series("create")), past, RULES).verdicts) == 1


def test_an_incomplete_run_is_not_judged() -> None:
    """Half a run gets no verdict but INCOMPLETE, even over its budget, and says why."""
    run = measurements(series("create", *around(60.0)), incomplete=("xdist worker gw0 ended early",))
    judgement = judge(run, steady(), RULES)
    assert (_one(judgement).name, judgement.failed, judgement.usable) == (Name.INCOMPLETE, False, False)
    assert "gw0" in _one(judgement).reason
    assert "nothing is stored" in judgement.notes[0]


def test_what_was_not_judged_has_not_passed() -> None:
    """Beside budgets of requests, which an incomplete run has too, the outcome says how much was not judged."""
    run = measurements(series("create", *around(1.0)), incomplete=("interrupted",))
    judgement = judge(run, steady(), RULES)
    requests = replace(_judged(*around(1.0)), series="kina::api_p95[embedded]")
    mixed = replace(judgement, verdicts=(*judgement.verdicts, requests))
    assert lines(mixed, "fail")[-1] == "gate passed: 1 series, 1 not judged"


def test_waiting_for_a_lease_is_never_gated() -> None:
    """How long tests queue depends on the number of tests."""
    past = steady("lease_wait")
    assert judge(measurements(series("lease_wait", *around(500.0))), past, RULES).verdicts == ()
    assert judge(measurements(), past, RULES).verdicts == ()


def test_an_empty_run_is_not_usable() -> None:
    """A run without any series is no pass."""
    judgement = judge(measurements(), steady(), RULES)
    assert not judgement.usable
    assert any("nothing was measured" in note for note in judgement.notes)


def test_problems_of_the_history_are_among_the_notes() -> None:
    """A file that could not be used is said with every judgement."""
    past = replace(steady(), problems=("history: 0003.json is not valid JSON; the file is ignored",))
    assert past.problems[0] in judge(measurements(series()), past, RULES).notes


_PHASES = ("create", "startup", "delete", "reset", "install")


def _moved(*factors: float) -> Judgement:
    past = history(*([series(phase, *around(one)) for phase in _PHASES] for one in STEADY))
    found = [series(phase, *around(factor)) for phase, factor in zip(_PHASES, factors, strict=True)]
    return judge(measurements(*found), past, RULES)


def test_a_slow_machine_is_a_warning() -> None:
    """When everything is slower by the same, the machine is: nothing fails, and a note says by how much."""
    judgement = _moved(1.4, 1.42, 1.38, 1.41, 1.4)
    assert {(one.name, one.fails) for one in judgement.verdicts} == {(Name.REGRESSED, False)}
    assert judgement.slow == pytest.approx(1.4, abs=0.02)
    assert any("the machine looks slow, by about +40 %" in note for note in judgement.notes)
    assert all("a warning only" in one.reason for one in judgement.verdicts)


def test_a_slower_phase_is_not_excused_by_itself() -> None:
    """+24 % of one phase while chance lifts some others by 10 %: seen with real clusters, and no slow machine."""
    judgement = _moved(1.24, 1.11, 1.12, 1.02, 1.0)
    assert judgement.slow is None
    assert judgement.candidates == (name("create"),)


def test_noisy_little_phases_do_not_excuse_a_doubling() -> None:
    """Seen with real clusters: +110 % of one phase, while the phases of some milliseconds took up to twice as long."""
    phases, factors = ("startup", "create", "kubectl_ready", "delete"), (2.1, 1.27, 1.91, 1.56)
    noisy = (1.0, 0.82, 1.2, 0.87, 1.15, 1.26, 0.78, 1.05, 0.95, 1.0)
    past = history(*([series(phase, *around(one)) for phase in phases] for one in noisy))
    found = [series(phase, *around(factor)) for phase, factor in zip(phases, factors, strict=True)]
    assert name("startup") in judge(measurements(*found), past, RULES).candidates


def test_two_other_phases_are_too_few_to_excuse_anything() -> None:
    """With few phases chance lifts all of them too often, so the rule needs three besides the suspect."""
    phases = ("create", "startup", "delete", "reset")

    def judged(count: int) -> Judgement:
        past = history(*([series(phase, *around(one)) for phase in phases[:count]] for one in STEADY))
        return judge(measurements(*(series(phase, *around(1.4)) for phase in phases[:count])), past, RULES)

    assert len(judged(3).candidates) == 3
    assert judged(4).candidates == ()


def test_the_suspects_own_phase_and_the_total_are_no_evidence() -> None:
    """A slower startup is slower in every kind of cluster, and in ``ready``, which contains it."""
    kinds = [("startup", "2"), ("startup", "3-4"), ("ready", "1"), ("create", "1"), ("delete", "1")]

    def beside(phase: str, bucket: str, factor: float) -> SeriesSamples:
        made = series(phase, *around(factor), concurrency=bucket)
        return replace(made, fullname=name(phase).replace("-c1]", f"-c{bucket}]"))

    past = history(*([beside(*kind, one) for kind in kinds] for one in STEADY))
    found = [beside(*kind, 1.4 if kind[0] in ("startup", "ready") else 1.0) for kind in kinds]
    judgement = judge(measurements(*found), past, RULES)
    assert judgement.slow is None
    assert len(judgement.candidates) == 3


def test_many_kinds_of_clusters_are_no_more_evidence_than_one() -> None:
    """A phase counts once, in however many series it was slow."""
    phases = [("create", at) for at in range(6)] + [("startup", 0), ("delete", 0), ("reset", 0), ("install", 0)]
    factors = {"create": 1.4, "startup": 1.4}

    def one(phase: str, nodes: int, factor: float) -> SeriesSamples:
        made = series(phase, *around(factor), nodes=nodes)
        return replace(made, fullname=name(phase).replace("-n0-", f"-n{nodes}-"))

    past = history(*([one(*place, run) for place in phases] for run in STEADY))
    judgement = judge(measurements(*(one(*place, factors.get(place[0], 1.0)) for place in phases)), past, RULES)
    assert judgement.slow is None


def test_a_machine_twice_as_slow_is_no_excuse() -> None:
    """Doubling everything must not pass for a slow machine."""
    judgement = _moved(2.0, 2.02, 1.98, 2.01, 2.0)
    assert judgement.slow is None
    assert len(judgement.candidates) == 5


def test_one_phase_that_is_slower_than_the_slow_machine_fails() -> None:
    """What stands out on a slow machine too is no matter of the machine."""
    judgement = _moved(3.0, 1.3, 1.28, 1.32, 1.3)
    assert judgement.candidates == (name("create"),)


def test_two_slow_phases_of_five_are_no_slow_machine() -> None:
    """Most series must move together."""
    judgement = _moved(1.4, 1.4, 1.0, 1.0, 1.0)
    assert judgement.slow is None
    assert len(judgement.candidates) == 2


def test_rare_long_samples_are_a_warning() -> None:
    """Two of five starts three times as long leave the median alone; the tail rule says them."""
    verdict = _judged(*around(1.0, 3), 3.0, 3.1)
    assert (verdict.name, verdict.fails) == (Name.UNSTABLE, False)
    assert any("2 of 5 samples are above" in warning for warning in verdict.warnings)


def test_one_long_sample_is_no_tail() -> None:
    """A single outlier happens."""
    assert _judged(*around(1.0, 4), 3.0).warnings == ()


def test_long_samples_that_the_baseline_has_too_are_no_warning() -> None:
    """Where every run has such starts, this one may."""
    past = history(*([series("create", *around(1.0, 37), 3.0, 3.0, 3.0)] for _ in range(6)))
    verdict = _judged(*around(1.0, 37), 3.0, 3.0, 3.0, past=past)
    assert verdict.warnings == ()


def test_more_failures_than_usual_are_a_warning() -> None:
    """Failed attempts are counted against the baseline's, and never enter the median."""
    verdict = _judged(*around(1.0), failures=3)
    assert any("3 of 8 attempts failed (baseline: 0 of 50)" in warning for warning in verdict.warnings)
    past = steady("create", *STEADY, failures=2)
    assert _judged(*around(1.0), failures=2, past=past).warnings == ()


def test_a_slow_creep_of_the_baseline_is_a_warning() -> None:
    """Steps of 4 % never fail; +25 % since the first runs is said."""
    past = steady("create", *(1.04**at for at in range(16)))
    verdict = _judged(*around(1.04**16), past=past)
    assert verdict.name is Name.OK
    assert any("crept up" in warning for warning in verdict.warnings)


def test_zero_durations_can_be_judged() -> None:
    """A clock too coarse for a phase is no reason to fall over."""
    verdict = _judged(0.0, 0.0, 0.0, 0.0, 0.0, past=steady("create", *[0.0] * 10))
    assert verdict.name is Name.OK


def test_short_names_what_one_more_cycle_would_lengthen() -> None:
    """Series of a fresh cluster made alone can be topped up; resets and spares cannot."""
    run = measurements(
        series("create", 1.0),
        series("delete", *around(1.0, 4), start="reused"),
        series("startup", *around(1.0)),
        series("reset", 1.0),
        series("kubectl_ready", 1.0, start="spare"),
    )
    assert short(run, RULES) == {name("create"): 4, name("delete"): 1}


def test_what_was_made_beside_others_asks_for_samples_made_alone() -> None:
    """A kind that was only made on a crowded host is judged in a series of its own; one that has such a series is not."""
    crowded = name("create").replace("-c1]", "-c3-4]")
    beside = replace(series("create", 1.0, concurrency="3-4"), fullname=crowded)
    assert short(measurements(beside), RULES) == {name("create"): 5}
    assert short(measurements(beside, series("create", *around(1.0, 3))), RULES) == {name("create"): 2}
    assert short(measurements(series("create", *around(1.0)), beside), RULES) == {}


def test_what_was_made_beside_others_says_where_it_is_judged() -> None:
    """Nobody waits for samples that are never made, and the series of the same kind made alone speaks for it."""
    crowded = name("create").replace("-c1]", "-c3-4]")
    beside = replace(series("create", 1.0, concurrency="3-4"), fullname=crowded)
    both = judge(measurements(beside, series("create")), steady(), RULES)
    assert both.verdicts[0].name is Name.TOO_FEW
    assert f"made alone, as {name('create').removeprefix('kina::')}" in both.verdicts[0].reason
    assert both.blind == ()
    assert not any("fewer than 5 samples" in note for note in both.notes)
    only = judge(measurements(beside, series("create", 1.0)), steady(), RULES)
    assert only.blind == (crowded, name("create"))
    waiting = judge(measurements(replace(beside, phase="install")), steady(), RULES)
    assert "alone" not in waiting.verdicts[0].reason
