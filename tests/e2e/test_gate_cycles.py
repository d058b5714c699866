"""Further clusters that are made for the gate start as the one did whose series they lengthen."""

from __future__ import annotations

import pytest

from pytest_kina.timing import Phase
from tests.support.runs import Home, write_project

pytestmark = pytest.mark.real_control_plane

TEST = """
import pytest

@pytest.mark.kina_cluster(profile="api")
def test_it(kina_cluster): pass
"""


def test_cycles_lengthen_the_series_that_is_too_short(home: Home) -> None:
    """On a new machine all clusters are fresh although the first one left a template; later all start from it."""
    write_project(home.project, {"test_it.py": TEST})
    for starts in (["fresh"] * 3, ["template"] * 3):
        before = len(home.events(Phase.CREATE))
        run = home.run(ci=True, KINA_GATE_SAMPLES="3", KINA_GATE_BUDGET="2m", KINA_GATE="warn")
        assert run.returncode == 0, run.output
        assert [event.start for event in home.events(Phase.CREATE)][before:] == starts
    home.assert_nothing_left()
