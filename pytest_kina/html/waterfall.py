"""What happened when: a lane per xdist worker and cluster, a bar per phase."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_kina.gate.wording import seconds
from pytest_kina.html.svg import COLOURED, colour, drawing, escaped, line, rectangle, text, ticks
from pytest_kina.timing import TimingEvent

_WIDTH, _LEFT, _ROW, _TOP = 1040, 230, 18, 24
_MOST_LANES = 80
_MOST_BARS = 2000
_MOST_LENGTH = 36


def waterfall(events: Sequence[TimingEvent]) -> str:
    """The picture with its legend; the first lanes only when there are very many."""
    placed = [event for event in events if event.t0 > 0]
    if not placed:
        return ""
    shown = sorted(placed, key=lambda event: event.t0)[:_MOST_BARS]
    lanes: dict[tuple[str, str], list[TimingEvent]] = {}
    for event in shown:
        lanes.setdefault((event.worker, event.cluster), []).append(event)
    kept = sorted(lanes, key=lambda key: (key[0], lanes[key][0].t0))[:_MOST_LANES]
    begin = min(event.t0 for event in shown)
    end = max(event.t0 + event.seconds for key in kept for event in lanes[key])
    scale = (_WIDTH - _LEFT - 10) / max(marks[-1], 1e-9) if (marks := ticks(end - begin, 8)) else 1.0
    height = _TOP + _ROW * len(kept) + 6
    parts = [_axis(mark, _LEFT + mark * scale, height) for mark in marks]
    for row, key in enumerate(kept):
        parts += _lane(row, key, lanes[key], begin, scale)
    left_out = len(placed) - sum(len(lanes[key]) for key in kept)
    note = f'<p class="facts">{left_out} of {len(placed)} events are not drawn.</p>' if left_out else ""
    return _legend({event.phase.value for event in shown}) + drawing(_WIDTH, height, "waterfall", parts) + note


def _axis(mark: float, x: float, height: float) -> str:
    return line(x, _TOP - 6, x, height, "grid") + text(x, _TOP - 10, f"{mark:g} s", "soft", "middle")


def _lane(row: int, key: tuple[str, str], events: Sequence[TimingEvent], begin: float, scale: float) -> list[str]:
    y = _TOP + row * _ROW
    worker, cluster = key
    label = f"{worker}  {cluster or 'preparation'}"
    parts = [text(4, y + 13, label if len(label) <= _MOST_LENGTH else label[: _MOST_LENGTH - 1] + "…", "soft")]
    # what is waited for lies below what is done meanwhile
    for event in sorted(events, key=lambda one: one.phase.value in COLOURED):
        css = colour(event.phase.value) + ("" if event.ok else " broken")
        failed = "" if event.ok else f", failed: {event.error}"
        tip = f"{event.phase.value} {seconds(event.seconds)}{failed}, {event.cluster} {event.start} {event.nodeid}"
        thin = 0 if event.phase.value in COLOURED else 5
        x = _LEFT + (event.t0 - begin) * scale
        parts.append(rectangle(x, y + 3 + thin / 2, event.seconds * scale, _ROW - 5 - thin, css, tip))
    return parts


def _legend(phases: set[str]) -> str:
    named = [phase for phase in COLOURED if phase in phases]
    if phases - set(named):
        named.append("waiting and preparation")
    square = '<svg viewBox="0 0 10 10"><rect width="10" height="10" rx="2" class="{}"/></svg>'
    return (
        '<div class="legend">'
        + "".join(f"<span>{square.format(colour(name))}{escaped(name)}</span>" for name in named)
        + "</div>"
    )
