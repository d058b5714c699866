"""One self-contained HTML file about a run: no scripts, nothing from elsewhere, light and dark, narrow, print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.gate import measured
from pytest_kina.html.distributions import distributions
from pytest_kina.html.head import header, whole_page
from pytest_kina.html.resources import resources
from pytest_kina.html.trends import trends
from pytest_kina.html.verdicts import verdicts
from pytest_kina.html.waterfall import waterfall

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

__all__ = ["page"]


def page(outcome: Outcome) -> str:
    """The whole file."""
    events, samples = outcome.timings.events, measured(outcome.document, place="this run").series
    sections = [
        header(outcome),
        _section("Verdicts", verdicts(outcome)),
        _section("What happened when", waterfall(events)),
        _section("Samples of this run", distributions(outcome.judgement, samples)),
        _section("Trend over accepted runs", trends(outcome)),
        _section("Memory, disk and requests", resources(outcome)),
    ]
    return whole_page("pytest-kina: timings", "".join(sections))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n" if content else ""
