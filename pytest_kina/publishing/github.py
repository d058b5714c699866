"""GitHub Actions: annotations by workflow commands, and the job summary.

Sources: "Workflow commands for GitHub Actions" (escaping of ``%``, CR, LF in data, and of ``:`` and ``,`` in
properties; ``GITHUB_STEP_SUMMARY``: 1 MiB per step, beyond which the whole summary is dropped). GitHub shows about ten
annotations per kind and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.gate import Judgement, Mode, Verdict, outcome
from pytest_kina.gate.wording import percent, seconds

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

MOST_ANNOTATIONS = 10
MOST_BYTES = 200 * 1024
_HEADINGS = ("Verdict", "Series", "n", "Median", "Baseline", "Change", "Limit", "Budget")
_CUT = "\n\n… and more: the whole of it is in the log and in the report.\n"


def commands(judgement: Judgement, mode: Mode) -> list[str]:
    """An annotation per failing series, at most ten in all; warnings where the mode lets them pass."""
    kind = "error" if mode == "fail" else "warning"
    bad = [verdict for verdict in judgement.verdicts if verdict.fails]
    shown = bad if len(bad) <= MOST_ANNOTATIONS else bad[: MOST_ANNOTATIONS - 1]
    lines = [_command(kind, f"kina gate: {one.name}", f"{one.series}: {one.reason}") for one in shown]
    if len(bad) > len(shown):
        lines.append(_command(kind, "kina gate", f"and {len(bad) - len(shown)} more series"))
    return lines


def append_summary(path: Path, outcome: Outcome, mode: Mode) -> None:
    """Append Markdown to the job summary, as far as 200 KiB of it. Raises :class:`OSError`."""
    text = summary(outcome.judgement, outcome.said, mode).encode()
    taken = path.stat().st_size if path.exists() else 0
    if len(text) + taken > MOST_BYTES:
        room = max(0, MOST_BYTES - taken - len(_CUT.encode()))
        text = text[:room].rpartition(b"\n")[0] + _CUT.encode()
    with path.open("ab") as stream:
        stream.write(text)


def summary(judgement: Judgement, said: Sequence[str], mode: Mode) -> str:
    """The judgement as Markdown: outcome, table, reasons."""
    ordered = sorted(judgement.verdicts, key=lambda verdict: not verdict.fails)
    rows = [_HEADINGS, ("---",) * len(_HEADINGS), *map(_cells, ordered)]
    table = "\n".join("| " + " | ".join(map(_escaped_cell, row)) + " |" for row in rows)
    reasons = [f"- **{one.name}** `{one.series}`: {_escaped_cell(one.reason)}" for one in ordered if one.fails]
    reasons += [f"- warning: `{one.series}`: {_escaped_cell(text)}" for one in ordered for text in one.warnings]
    notes = [f"- {_escaped_cell(text)}" for text in (*judgement.notes, *said)]
    listed = "\n".join([*reasons, *notes])
    return f"## pytest-kina: {outcome(judgement, mode)}\n\n{table}\n\n{listed}\n"


def _cells(verdict: Verdict) -> tuple[str, ...]:
    numbers = verdict.numbers
    durations = (numbers.median, numbers.baseline, numbers.limit, numbers.budget)
    median, baseline, limit, budget = ("" if value is None else seconds(value) for value in durations)
    change = "" if numbers.ratio is None else percent(numbers.ratio)
    mark = "❌ " if verdict.fails else ""
    name = verdict.series.removeprefix("kina::")
    return f"{mark}{verdict.name}", f"`{name}`", str(numbers.n), median, baseline, change, limit, budget


def _escaped_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
