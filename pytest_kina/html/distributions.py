"""Every sample of this run as a dot, a line per series; no densities and no boxes, which hide how few there are."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_kina.gate import Judgement, SeriesSamples, Verdict
from pytest_kina.gate.wording import seconds
from pytest_kina.html.svg import colour, dot, drawing, escaped, line, text, ticks

_WIDTH, _LEFT, _ROW, _TOP = 1040, 190, 26, 26
_MOST_DOTS = 300
_MOST_SERIES = 60


def distributions(judgement: Judgement, measured: Sequence[SeriesSamples]) -> str:
    """One picture per kind of cluster: its phases share an axis."""
    known = {verdict.series: verdict for verdict in judgement.verdicts}
    kinds: dict[str, list[SeriesSamples]] = {}
    for one in [one for one in measured if one.seconds][:_MOST_SERIES]:
        kinds.setdefault(one.fullname.partition("[")[2].removesuffix("]"), []).append(one)
    legend = '<p class="facts">Dots: samples; grey line: median of the baseline; dashed line: limit of the gate.</p>'
    return legend + "".join(_picture(*kind, known) for kind in kinds.items()) if kinds else ""


def _picture(kind: str, series: Sequence[SeriesSamples], known: dict[str, Verdict]) -> str:
    marks = ticks(max(max(one.seconds) for one in series), 8)
    scale = (_WIDTH - _LEFT - 20) / marks[-1]
    height = _TOP + _ROW * len(series) + 4
    parts = []
    for mark in marks:
        x = _LEFT + mark * scale
        parts += [line(x, _TOP - 8, x, height, "grid"), text(x, _TOP - 12, f"{mark:g} s", "soft", "middle")]
    for row, one in enumerate(series):
        parts += _dots(_TOP + row * _ROW + _ROW / 2, one, known.get(one.fullname), scale)
    return f"<h3>{escaped(kind)}</h3>" + drawing(_WIDTH, height, f"samples of {kind}", parts)


def _dots(y: float, series: SeriesSamples, verdict: Verdict | None, scale: float) -> list[str]:
    values, phase = series.seconds, series.phase
    step = max(1, len(values) // _MOST_DOTS)
    parts = [text(4, y + 4, f"{phase}, n = {len(values)}", "soft")]
    numbers = verdict.numbers if verdict else None
    if numbers is not None and numbers.baseline is not None:
        x = _LEFT + numbers.baseline * scale
        parts.append(line(x, y - 9, x, y + 9, "base"))
    if numbers is not None and numbers.limit is not None and _LEFT + numbers.limit * scale < _WIDTH:
        x = _LEFT + numbers.limit * scale
        parts.append(line(x, y - 9, x, y + 9, "limit"))
    return parts + [dot(_LEFT + value * scale, y, colour(phase), seconds(value)) for value in values[::step]]
