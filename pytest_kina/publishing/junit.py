"""The judgement as properties of a JUnit test suite; the format knows texts only."""

from __future__ import annotations

from pytest_kina.gate import Judgement


def properties(judgement: Judgement) -> list[tuple[str, str]]:
    """``kina.gate``, and verdict and median in seconds of each series, by its full name."""
    found = [("kina.gate", "failed" if judgement.failed else "passed"), ("kina.machine", judgement.machine)]
    for verdict in judgement.verdicts:
        name = verdict.series.removeprefix("kina::")
        found.append((f"kina.{name}.verdict", verdict.name.value))
        if verdict.numbers.median is not None:
            found.append((f"kina.{name}.median_seconds", f"{verdict.numbers.median:.6f}"))
    return found
