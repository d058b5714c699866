"""The file for Prometheus, read by a reader of the text format that is written from its specification."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_kina.publishing.prometheus import exposition
from pytest_kina.timing import Phase
from tests.support.outcomes import event, lives, outcome

_LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z0-9_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


def _read(text: str) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        if not line.startswith("# TYPE "):
            match = _LINE.fullmatch(line)
            assert match is not None, line
            key = (match[1], match[2] or "")
            assert key not in found, f"{key} is there twice"
            found[key] = float(match[3])
    return found


def test_histograms_count_every_sample_once(tmp_path: Path) -> None:
    """Buckets are cumulative, end with all samples, and sum and count agree with them."""
    values = _read(exposition(outcome(tmp_path, lives(5))))
    name, about = "kina_cluster_phase_duration_seconds", 'phase="create",provider="embedded",k8s="1.36"'
    buckets = [value for (metric, labels), value in values.items() if metric == f"{name}_bucket" and about in labels]
    assert buckets == sorted(buckets)
    assert buckets[-1] == values[f"{name}_count", about] == 5
    assert abs(values[f"{name}_sum", about] - sum(1 + at / 100 for at in range(5))) < 1e-6
    assert values[f"{name}_bucket", f'{about},le="1"'] == 1  # a value on the edge belongs to the bucket


def test_failures_are_counted_and_not_timed(tmp_path: Path) -> None:
    """A time-out is in the counter of errors only."""
    made = outcome(tmp_path, [event(Phase.CREATE, 60.0, ok=False, error="ProvisionError")])
    values = _read(exposition(made))
    assert values["kina_cluster_operations_total", 'phase="create",outcome="error"'] == 1
    assert not [key for key in values if key[0].startswith("kina_cluster_phase_duration_seconds")]


def test_names_and_types_follow_the_rules(tmp_path: Path) -> None:
    """One TYPE line per metric before its samples, base units in names, no identifiers of runs or clusters as labels."""
    text = exposition(outcome(tmp_path, lives(2)))
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len({name for name, _ in types}) == len(types)
    assert all(name.endswith(("_seconds", "_bytes", "_total", "_info", "_failed")) for name, _ in types)
    assert "kina-0-" not in text
    assert "r1" not in text


def test_odd_names_are_escaped(tmp_path: Path) -> None:
    """Quotes, backslashes and line ends in a provider's name do not break the file."""
    made = outcome(tmp_path, [event(Phase.CREATE, 1.0, provider='a"b\\c\nd')])
    assert any('provider="a\\"b\\\\c\\nd"' in labels for _, labels in _read(exposition(made)))
