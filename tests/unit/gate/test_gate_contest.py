"""Providers side by side: medians, ratios, intervals, and what is said of those that failed or were skipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_kina.gate.contest import Contest, Entrant, contest_lines
from pytest_kina.html.contest import contest_page

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schemas/bench.schema.json").read_text())
QUICK, SLOW = (1.0, 1.1, 1.2, 1.3, 1.4), (10.0, 11.0, 12.0, 13.0, 14.0)


def entrant(name: str, create: Sequence[float], **other: Any) -> Entrant:
    """A provider of which only ``create`` is known, and how often it was asked."""
    samples = {"create": tuple(create)} if create else {}
    return Entrant(name=name, about=f"{name} 1.0", turns=len(create) + 1, samples=samples, **other)


def contest(*entrants: Entrant, **other: Any) -> Contest:
    """Five rounds of these, with a phase that nobody has."""
    skipped = other.pop("skipped", {})
    return Contest(rounds=5, phases=("create", "delete"), entrants=entrants, skipped=skipped, **other)


def test_ratio_is_how_many_times_as_long_as_the_first() -> None:
    """Ten times, within an interval of at least 95 %; the other way round a tenth."""
    quick, slow = entrant("quick", QUICK), entrant("slow", SLOW)
    found = contest(quick, slow).ratios["slow"]["create"]
    assert found.ratio == pytest.approx(10.0)
    assert found.low < 10.0 < found.high
    assert found.level >= 0.95
    assert contest(slow, quick).ratios["quick"]["create"].ratio == pytest.approx(0.1)


def test_text_has_both_sides_in_one_row_and_no_phase_without_samples() -> None:
    """Median, range and number per provider; the ratio in a table of its own."""
    lines = contest_lines(contest(entrant("quick", QUICK), entrant("slow", SLOW), skipped={"kina": "no Mac"}))
    assert "  kina: SKIPPED, no Mac" in lines
    (both,) = [line for line in lines if line.startswith("  create") and " s (" in line]
    assert "1.20 s (1.00 s to 1.40 s, 5)" in both
    assert "12.00 s (10.00 s to 14.00 s, 5)" in both
    (times,) = [line for line in lines if line.startswith("  create") and line != both]
    assert times.split()[1] == "10"
    assert not [line for line in lines if "delete" in line]


def test_few_samples_say_how_much_their_interval_is_worth() -> None:
    """Three on each side allow 90 %; five allow what is promised."""
    few = contest(entrant("a", QUICK[:3]), entrant("b", SLOW[:3]))
    assert [note for note in few.notes if "intervals of 90%" in note]
    assert contest(entrant("a", QUICK), entrant("b", SLOW)).notes == []


def test_failures_are_counted_and_have_their_reasons() -> None:
    """One of three turns failed: the contest has failed, and the note says when and why."""
    failed = contest(entrant("a", QUICK), entrant("b", SLOW[:2], failures=("round 3 of 5: boom\nand more",)))
    assert failed.failed
    assert contest_lines(failed)[0].endswith("not all went well, see the notes")
    assert failed.to_json()["providers"][1]["failures"] == ["round 3 of 5: boom\nand more"]
    assert failed.notes[-2:] == ["b FAILED, 1 of 3 turns", "b, round 3 of 5: boom"]
    assert not contest(entrant("a", QUICK)).failed


def test_a_provider_without_a_single_sample_has_a_column_and_no_ratio() -> None:
    """Also when it is the one that others are compared with."""
    for entrants in (("dead", "b"), ("b", "dead")):
        found = contest(*(entrant(name, () if name == "dead" else SLOW) for name in entrants))
        assert all(not phases for phases in found.ratios.values())
        (row,) = [line for line in contest_lines(found) if line.startswith("  create")]
        assert " - " in f"{row} "


def test_nobody_and_an_early_end_are_failures() -> None:
    """Everything skipped is no success, and neither are rounds that were cut short."""
    nobody = contest(skipped={"kina": "no Mac"})
    assert nobody.failed
    assert contest_lines(nobody)[0] == "nobody could take part"
    assert contest_lines(nobody)[-1] == "  kina: SKIPPED, no Mac"
    ended = contest(entrant("a", QUICK), ended="interrupted in round 2 of 5")
    assert (ended.failed, ended.notes[-1]) == (True, "interrupted in round 2 of 5")


def test_what_was_left_out_and_who_else_was_there_is_noted() -> None:
    """A missing Deployment and a busy machine are things to keep in mind, not failures."""
    found = contest(entrant("a", QUICK, left_out="it runs no pods", busy=2))
    assert not found.failed
    assert found.notes == [
        "a runs no Deployment: it runs no pods",
        "2 of 6 turns of a ran while other clusters of this machine were in use",
    ]


@pytest.mark.parametrize("entrants", [(), (entrant("a", QUICK),), (entrant("a", QUICK), entrant("b", ()))])
def test_document_is_what_the_schema_says(entrants: tuple[Entrant, ...]) -> None:
    """With nobody, one, and one that has measured nothing; samples are in it one by one."""
    document = json.loads(json.dumps(contest(*entrants, skipped={"c": "why"}).to_json()))
    jsonschema.validate(document, SCHEMA)
    assert [one["phases"].get("create", {}).get("seconds") for one in document["providers"]] == [
        list(one.samples["create"]) if one.samples else None for one in entrants
    ]


def test_page_has_every_sample_and_escapes_what_others_wrote() -> None:
    """A dot per sample with its duration, both tables, and a reason that is no HTML."""
    slow = entrant("slow", SLOW, failures=("round 1 of 5: <script>alert(1)</script>",))
    page = contest_page(contest(entrant("quick", QUICK), slow, skipped={"kina": "<b>no</b> Mac"}))
    assert page.count("<circle") == 10
    assert page.count("<table") == 2
    assert "<script>" not in page
    assert "&lt;b&gt;no&lt;/b&gt; Mac" in page
    assert "times as long as quick" in page


def test_page_without_anybody_is_a_page() -> None:
    """The reasons are all there is."""
    page = contest_page(contest(skipped={"kina": "no Mac"}))
    assert "no Mac" in page
    assert "<table" not in page
