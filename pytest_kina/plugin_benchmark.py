"""Our series as rows of pytest-benchmark, so that its options for saving, comparing and showing work on them.

``--benchmark-json``, ``--benchmark-save``, ``--benchmark-compare[-fail]``, histogram, CSV, sorting and grouping act on
``config._benchmarksession.benchmarks`` in the xdist controller or the only process. That is private API of
pytest-benchmark (read: 5.3.1): if it has changed, one line says so, and the rest of the run is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_kina.timing import TimingEvent

PLUGIN = "benchmark"
_SESSION = "_benchmarksession"


class BenchmarkRows:
    """Adds one row per series; register it in the xdist controller or the only process, where pytest-benchmark is.

    ``settle`` ends what still has to be measured (deletions), ``events`` returns everything measured so far.
    """

    def __init__(self, *, settle: Callable[[], None], events: Callable[[], Sequence[TimingEvent]]) -> None:
        self._settle = settle
        self._events = events
        self._problem = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Add the rows before pytest-benchmark, in a wrapper of its own, saves and compares what it has."""
        if _wanted(session.config):
            self._settle()
            try:
                rows = _rows(self._events())
                getattr(session.config, _SESSION).benchmarks.extend(rows)
            except (ImportError, AttributeError, TypeError) as error:
                self._problem = f"this version of pytest-benchmark does not take our rows: {error!r}"
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say once that the rows are missing."""
        if self._problem:
            terminalreporter.write_line(
                f"kina: {self._problem}. --kina-bench-json has them; pytest-benchmark 5.3.1 is known to work.",
                yellow=True,
            )


class _Parameters(dict[str, Any]):
    """What a row was measured with; grouping by a parameter that only other rows have finds None here."""

    def __missing__(self, _: str) -> None:
        return None


def _wanted(config: pytest.Config) -> bool:
    """Whether the user's own options leave benchmarks on (xdist switches the fixture off, which is not our concern)."""
    option = config.getoption
    disabled = option("benchmark_disable", False) and not option("benchmark_enable", False)
    return not disabled and (not option("benchmark_skip", False) or option("benchmark_only", False))


def _rows(events: Iterable[TimingEvent]) -> list[Any]:
    from pytest_benchmark import stats as theirs

    from pytest_kina.report.benchmark_json import row
    from pytest_kina.report.series import comparable

    stats: Any = theirs  # its types are not annotated
    rows = []
    for series in comparable(events):
        if not series.seconds:
            continue
        known = row(series)
        stub = SimpleNamespace(
            name=known["name"],
            fullname=known["fullname"],
            group=known["group"],
            param=known["param"],
            params=_Parameters(known["params"]),
            extra_info=known["extra_info"],
            cprofile_stats=None,
            has_error=False,
        )
        metadata = stats.Metadata(stub, iterations=1, options=known["options"])
        for seconds in series.seconds:
            metadata.update(seconds)
        rows.append(metadata)
    return rows
