"""Annotations and job summaries stay within what GitHub shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_kina import gate
from pytest_kina.publishing.github import MOST_BYTES, append_summary, commands
from tests.support.outcomes import lives, outcome


def _bad(count: int, reason: str = "slow") -> gate.Judgement:
    verdicts = [
        gate.Verdict(
            series=f"kina::s{at}", phase="create", provider="x", name=gate.Name.REGRESSED, reason=reason, fails=True
        )
        for at in range(count)
    ]
    return gate.Judgement(machine="m", verdicts=tuple(verdicts))


def test_each_failing_series_is_an_annotation(tmp_path: Path) -> None:
    """An error in mode fail, a warning in mode warn; nothing for what is fine."""
    judged = outcome(tmp_path, lives(5, 3.0), runs=6).judgement
    lines = commands(judged, "fail")
    assert [line.partition("::kina::")[0] for line in lines] == ["::error title=kina gate%3A REGRESSED"] * len(lines)
    assert len(lines) == sum(verdict.fails for verdict in judged.verdicts) > 0
    assert all(line.startswith("::warning ") for line in commands(judged, "warn"))


def test_there_are_never_more_than_ten() -> None:
    """GitHub drops the rest silently, so the tenth says how many there are."""
    assert len(commands(_bad(10), "fail")) == 10
    lines = commands(_bad(25), "fail")
    assert len(lines) == 10
    assert lines[-1].endswith("::and 16 more series")


def test_an_annotation_is_one_line_whatever_the_reason_holds() -> None:
    """Percent signs and line ends are escaped as GitHub asks."""
    (line,) = commands(_bad(1, "100 % slower\r\nthan before"), "fail")
    assert line == "::error title=kina gate%3A REGRESSED::kina::s0: 100 %25 slower%0D%0Athan before"


def test_the_summary_is_added_to_what_is_there(tmp_path: Path) -> None:
    """Other steps' text stays, ours has a table row per series."""
    path = tmp_path / "summary.md"
    path.write_text("# before\n")
    made = outcome(tmp_path, lives(5, 3.0), runs=6)
    append_summary(path, made, "fail")
    text = path.read_text()
    assert text.startswith("# before\n## pytest-kina: gate FAILED")
    assert text.count("\n| ") == 2 + len(made.judgement.verdicts)


def test_the_summary_never_grows_beyond_its_share(tmp_path: Path) -> None:
    """200 KiB whatever happens, since GitHub drops a summary that is too long as a whole."""
    path = tmp_path / "summary.md"
    made = replace(outcome(tmp_path, lives(1)), judgement=_bad(3000, "ü" * 100))
    for _ in range(3):
        append_summary(path, made, "fail")
    assert path.stat().st_size <= MOST_BYTES + 200
    assert "and more" in path.read_text()
