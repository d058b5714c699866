"""The plots of docs/performance.md: well-formed, complete, and nothing where there is no data."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import plots

SVG = "{http://www.w3.org/2000/svg}"


def test_a_curve_shows_every_size_with_its_spread() -> None:
    """A dot and a label per size, joined by lines, on axes that hold the largest value."""
    points = [plots.Point(size, [size * 0.9, size, size * 1.2]) for size in (1, 4, 64)]
    root = ET.fromstring(plots.curve("a title", points))
    assert len(root.findall(f"{SVG}circle")) == 3
    assert len([one for one in root.findall(f"{SVG}line") if one.get("class") == "curve"]) == 2
    labels = [one.text for one in root.findall(f"{SVG}text")]
    assert {"1", "4", "64"} <= set(labels)
    assert all(0 <= float(one.get("cy", -1)) <= 260 for one in root.findall(f"{SVG}circle"))


def test_bars_show_who_was_measured() -> None:
    """Peers look different from ours; what was not measured has no bar."""
    data = {"envtest": {"usable": [2.0]}, "api template": {"usable": [0.5, 0.7]}, "kwokctl": {"pod": [3.0]}}
    root = ET.fromstring(plots.bars(data))
    assert [one.get("class") for one in root.findall(f"{SVG}rect")] == ["ours", "peer", "peer"]


@pytest.mark.parametrize("picture", [plots.bars({}), plots.curve("nothing", [])])
def test_without_data_there_is_no_plot(picture: str) -> None:
    """An empty picture would look like a result."""
    assert picture == ""


def test_plots_go_where_the_document_shows_them() -> None:
    """Every image in docs/performance.md is one that the program draws, and the other way round."""
    root = Path(__file__).parents[2]
    source = (root / "benchmarks" / "plots.py").read_text()
    shown = {
        line.partition("plots/")[2].rstrip(")")
        for line in (root / "docs" / "performance.md").read_text().splitlines()
        if line.startswith("![")
    }
    assert shown == {name for name in ("starts.svg", "clusters.svg", "pods.svg", "slots.svg") if f'"{name}"' in source}
    assert len(shown) == 4
