"""Pieces of SVG and HTML as text. Everything that comes from a run is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

COLOURED = ("create", "startup", "kubectl_ready", "reset", "delete", "install", "image_load")
"""Phases with a colour of their own; all others are waiting and preparation, and grey."""


def escaped(text: object) -> str:
    """Text for HTML and SVG, also inside attributes."""
    return html.escape(str(text), quote=True)


def colour(phase: str) -> str:
    """The CSS class of a phase."""
    return f"p-{phase}" if phase in COLOURED else "p-other"


def drawing(width: int, height: float, title: str, parts: Sequence[str]) -> str:
    """An image that scales down to the page's width, and scrolls where it would be too small to read."""
    inside = "".join(parts)
    return (
        f'<div class="plot" tabindex="0">'
        f'<svg viewBox="0 0 {width} {height:.0f}" style="max-width:{width}px" role="img" aria-label="{escaped(title)}">'
        f"{inside}</svg></div>"
    )


def rectangle(x: float, y: float, width: float, height: float, css: str, tip: str = "") -> str:
    """A bar with a tool tip."""
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" rx="2" class="{css}"'
    return f"{shape}><title>{escaped(tip)}</title></rect>" if tip else f"{shape}/>"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def dot(x: float, y: float, css: str, tip: str, radius: float = 4) -> str:
    """A dot with a tool tip."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{css}"><title>{escaped(tip)}</title></circle>'


def text(x: float, y: float, content: object, css: str = "", anchor: str = "start") -> str:
    """One line of text; ``y`` is its base line."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escaped(content)}</text>'


def ticks(high: float, count: int = 5) -> list[float]:
    """Round values from 0 to at least ``high``, about ``count`` of them: steps of 1, 2 or 5 times a power of ten."""
    if high <= 0:
        return [0.0, 1.0]
    raw = high / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [step * number for number in range(math.ceil(high / step) + 1)]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose cells are HTML already; the first ``left`` columns are text, the others numbers."""
    head = "".join(f'<th scope="col"{_side(at, left)}>{heading}</th>' for at, heading in enumerate(headings))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(at, left)}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="plot" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _side(at: int, left: int) -> str:
    return "" if at < left else ' class="n"'
