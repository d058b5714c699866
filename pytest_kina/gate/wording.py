"""Durations, ratios and tables in words."""

from __future__ import annotations

from collections.abc import Sequence


def seconds(value: float) -> str:
    """``43.1 ms``, ``2.50 s`` or ``125 s``."""
    if value < 0.9995:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 99.995 else f"{value:.0f} s"


def percent(ratio: float) -> str:
    """``+20 %`` for 1.2."""
    return f"{(ratio - 1) * 100:+.0f} %"


def table(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows of cells as aligned lines; the first ``left`` columns are text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths, left)).rstrip() for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in enumerate(cells)]
