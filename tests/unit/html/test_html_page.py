"""The HTML report: well-formed, self-contained, complete, and safe with whatever a run calls its things."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_kina.html import page
from pytest_kina.html.svg import ticks
from pytest_kina.report.series import comparable
from pytest_kina.timing import Phase
from tests.support.outcomes import event, lives, outcome

VOID = {"meta", "br"}


class Strict(HTMLParser):
    """Notes tags and attributes, and fails on what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it; it is closed already."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """It must close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.shown += data


def parsed(text: str) -> Strict:
    """The page, which must be closed completely."""
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_it_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """No script, no link, no address of anything elsewhere; usable from an artifact viewer without network."""
    text = page(outcome(tmp_path, lives(5), runs=6))
    found = parsed(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text


def test_it_has_a_bar_per_event_and_a_dot_per_sample(tmp_path: Path) -> None:
    """Nothing is left out of a run of usual size."""
    events = lives(5)
    text = page(outcome(tmp_path, events))
    waterfall, rest = text.split("What happened when")[1].split("Samples of this run")
    assert waterfall.count("<rect") == len(events) + len(re.findall(r"<rect width", waterfall))
    dots = rest.split("Memory, disk")[0].count("<circle")
    assert dots == sum(len(series.seconds) for series in comparable(events))


@pytest.mark.parametrize(("factor", "state", "css"), [(1.0, "passed", "good"), (3.0, "FAILED", "bad")])
def test_it_shows_the_verdict_with_the_band_it_rests_on(tmp_path: Path, factor: float, state: str, css: str) -> None:
    """The head says what the gate said; the trend has a dot per run, the limit, and this run in the verdict's colour."""
    text = page(outcome(tmp_path, lives(5, factor), runs=6))
    assert f"gate {state}" in parsed(text).shown
    trend = text.split("Trend over accepted runs")[1].split("<h3>")[1]
    assert trend.count('class="run"') == 6
    assert 'class="limit"' in trend
    assert f'class="now {css}"' in trend


def test_it_shows_what_clusters_and_processes_took_up(tmp_path: Path) -> None:
    """Memory, objects, percentiles of requests as far as their number allows, and broken budgets."""
    shown = parsed(page(outcome(tmp_path, lives(1)))).shown
    for part in ("420 MiB", "7 pods", "p99", "4.0 ms", "grew by 70 MiB"):
        assert part in shown


def test_what_scrolls_can_be_reached_and_pictures_have_names(tmp_path: Path) -> None:
    """By keyboard and screen reader: scrolling parts take the focus, drawings are named, headings say what they head."""
    text = page(outcome(tmp_path, lives(5), runs=6))
    assert text.count('class="plot"') == text.count('class="plot" tabindex="0"') > 5
    drawings = re.findall(r'<svg viewBox="0 0 \d{3,}[^>]*>', text)
    assert all('role="img"' in one and re.search(r'aria-label="[^"]+"', one) for one in drawings)
    assert text.count("<th") - text.count("<thead") == text.count('<th scope="col"')
    assert '<html lang="en">' in text


def test_names_from_a_run_are_text(tmp_path: Path) -> None:
    """A test called like markup is shown, not obeyed."""
    nasty = "<script>alert('1')</script>\"&"
    text = page(
        outcome(tmp_path, [event(Phase.CREATE, 1.0, nodeid=nasty, worker=nasty, provider=nasty, cluster=nasty)])
    )
    assert "script" not in parsed(text).tags
    assert "<script" not in text


def test_a_run_without_anything_is_still_a_page(tmp_path: Path) -> None:
    """No events, no verdicts, no measurements: the head alone."""
    found = parsed(page(outcome(tmp_path, [], metrics=[])))
    assert "section" not in found.tags
    assert "nothing could be judged" in found.shown


def test_very_many_events_do_not_make_a_very_large_page(tmp_path: Path) -> None:
    """Beyond what one can look at, the page says how much is not drawn."""
    events = [event(Phase.LEASE_WAIT, 0.01, number, t0=1.7e9 + number) for number in range(20_000)]
    text = page(outcome(tmp_path, events))
    assert len(text) < 1_000_000
    assert "events are not drawn" in text


@pytest.mark.parametrize("high", [0.0, 0.0004, 0.03, 1.0, 7.3, 99.9, 12345.0])
def test_axes_have_few_round_marks_that_reach_the_highest_value(high: float) -> None:
    """Between 2 and 12 marks, equal steps, from zero to at least the value."""
    marks = ticks(high)
    assert marks[0] == 0
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 12
    steps = {round(later - earlier, 9) for earlier, later in pairwise(marks)}
    assert len(steps) == 1
