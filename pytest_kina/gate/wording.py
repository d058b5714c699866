"""Durations and ratios in words."""

from __future__ import annotations


def seconds(value: float) -> str:
    """``43.1 ms``, ``2.50 s`` or ``125 s``."""
    if value < 0.9995:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 99.995 else f"{value:.0f} s"


def percent(ratio: float) -> str:
    """``+20 %`` for 1.2."""
    return f"{(ratio - 1) * 100:+.0f} %"
