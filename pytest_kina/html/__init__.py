"""One self-contained HTML file about a run: no scripts, nothing from elsewhere, light and dark, narrow, print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina.html.distributions import distributions
from pytest_kina.html.head import STYLE, header
from pytest_kina.html.resources import resources
from pytest_kina.html.trends import trends
from pytest_kina.html.verdicts import verdicts
from pytest_kina.html.waterfall import waterfall

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

__all__ = ["page"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>pytest-kina: timings</title><style>{style}</style></head>
<body><main>{content}</main></body></html>
"""


def page(outcome: Outcome) -> str:
    """The whole file."""
    events = outcome.timings.events
    sections = [
        header(outcome),
        _section("Verdicts", verdicts(outcome)),
        _section("What happened when", waterfall(events)),
        _section("Samples of this run", distributions(outcome.judgement, events)),
        _section("Trend over accepted runs", trends(outcome)),
        _section("Memory, disk and requests", resources(outcome)),
    ]
    return _PAGE.format(style=STYLE, content="".join(sections))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n" if content else ""
