"""The page of ``pytest-kina bench --html``: providers side by side, every sample as a dot."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_kina import __version__
from pytest_kina.gate.contest import Contest, headline, ratio_rows, ratio_title, seconds_rows
from pytest_kina.gate.wording import seconds
from pytest_kina.html.head import whole_page
from pytest_kina.html.svg import colour, dot, drawing, escaped, line, table, text, ticks

_WIDTH, _LEFT, _ROW, _TOP = 1040, 190, 26, 26
_LABEL = 24  # characters of a name that have room, of module:attribute the end


def contest_page(contest: Contest) -> str:
    """The whole file."""
    state = "failed" if contest.failed else ""
    who = "".join(f"<li><b>{escaped(one.name)}</b>: {escaped(one.about)}</li>" for one in contest.entrants)
    who += "".join(f"<li><b>{escaped(name)}</b>: skipped, {escaped(why)}</li>" for name, why in contest.skipped.items())
    notes = "".join(f"<li>{escaped(note)}</li>" for note in contest.notes)
    parts = [
        "<h1>Providers of Kubernetes clusters, side by side</h1>",
        f'<p class="outcome {state}">{escaped(headline(contest))}</p>',
        f'<p class="facts">pytest-kina {escaped(__version__)}</p><ul>{who}</ul>',
        _section("Median (lowest to highest, number of samples)", seconds_rows(contest)),
        _section(ratio_title(contest), ratio_rows(contest)) if contest.entrants else "",
        "".join(_picture(contest, phase) for phase in contest.shown),
        f"<section><h2>Notes</h2><ul>{notes}</ul></section>" if notes else "",
    ]
    return whole_page("pytest-kina: providers side by side", "".join(parts))


def _section(title: str, rows: Sequence[Sequence[str]]) -> str:
    headings, *cells = [[escaped(cell) for cell in row] for row in rows]
    return f"<section><h2>{escaped(title)}</h2>{table(headings, cells)}</section>\n" if cells else ""


def _picture(contest: Contest, phase: str) -> str:
    """A line per provider; they share an axis."""
    measured = [(one.name, one.samples[phase]) for one in contest.entrants if phase in one.samples]
    marks = ticks(max(max(values) for _, values in measured), 8)
    scale = (_WIDTH - _LEFT - 20) / marks[-1]
    height = _TOP + _ROW * len(measured) + 4
    parts = []
    for mark in marks:
        x = _LEFT + mark * scale
        parts += [line(x, _TOP - 8, x, height, "grid"), text(x, _TOP - 12, f"{mark:g} s", "soft", "middle")]
    for row, (name, values) in enumerate(measured):
        y = _TOP + row * _ROW + _ROW / 2
        parts.append(text(4, y + 4, f"{name[-_LABEL:]}, n = {len(values)}", "soft"))
        parts += [dot(_LEFT + value * scale, y, colour(phase), seconds(value)) for value in values]
    return f"<section><h2>{escaped(phase)}</h2>{drawing(_WIDTH, height, f'samples of {phase}', parts)}</section>\n"
