"""What all benchmarks share: the machine they ran on, Markdown tables, and the file of results."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from pytest_kina.report.machine import commit_info, machine_info, memory_bytes
from pytest_kina.report.stats import quartiles

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"


def repeated(document: str, what: str, *, default: int) -> argparse.Namespace:
    """What the command line of a benchmark says: ``repetitions`` of ``what``, and whether to ``record`` the result."""
    options = argparse.ArgumentParser(description=document.splitlines()[0])
    options.add_argument("--repetitions", type=int, default=default, metavar="N", help=f"{what} (default: {default})")
    options.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    return options.parse_args()


def machine_line(**versions: str) -> str:
    """Cores, memory, system and versions, as one line."""
    info = machine_info()
    parts = [
        f"{info['cpu']['count']} cores ({info['cpu']['brand_raw']})",
        f"{memory_bytes() / 2**30:.1f} GiB",
        f"{info['system']} {info['release']} {info['machine']}",
        f"{info['python_implementation']} {platform.python_version()}",
        f"pytest {version('pytest')}",
        *(f"{name} {number}" for name, number in versions.items()),
    ]
    return ", ".join(parts)


def spread(values: Sequence[float], unit: float, digits: int = 1) -> tuple[str, str, str]:
    """Median, the middle half, and the extremes, in ``unit`` (1000: milliseconds of seconds)."""
    ordered = sorted(value * unit for value in values)
    q1, q3 = quartiles(ordered)
    return (
        f"{median(ordered):.{digits}f}",
        f"{q1:.{digits}f} to {q3:.{digits}f}",
        f"{ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f}",
    )


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column is text, the others are figures."""
    ruler = ["---", *("---:" for _ in headings[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (headings, ruler, *rows)]


def publish(title: str, machine: str, lines: Sequence[str], *, record: bool) -> None:
    """Print the result, and append it to RESULTS.md when asked to."""
    commit = commit_info(HERE)
    dirty = " with changes" if commit["dirty"] else ""
    day = datetime.now(UTC).date().isoformat()
    text = "\n".join([f"## {title}", "", f"{day}, commit {commit['id'][:12]}{dirty}. {machine}.", "", *lines, ""])
    print(text)
    if record:
        before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
        RESULTS.write_text(f"{before}\n{text}", encoding="utf-8")
        print(f"appended to {RESULTS}")
