"""The page about providers says what the code says, and what a run of the suites has found."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kina.providers import find
from pytest_kina.testing import checks
from tests.contract import tables
from tests.contract.record import SUITES, Recorder, main, merged
from tests.contract.tables import ONLY_WITH, PAGE, PROVIDERS, conformance, page, recorded


def test_the_tables_are_those_of_code_and_record() -> None:
    """Whoever changes a capability or a check, or records anew, writes the page anew."""
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.contract.tables"
    assert "| `simulated-nodes` | many Ready nodes" in PAGE.read_text()
    assert "| `test_together` | Four clusters" in PAGE.read_text()


def test_every_provider_has_a_suite() -> None:
    """A new provider is examined, and so recorded."""
    assert set(SUITES) == set(PROVIDERS)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_record_is_of_this_suite(provider: str) -> None:
    """Each check was run for each provider, and passed, or was skipped for want of a capability it does not claim."""
    found = recorded()[provider]["checks"]
    assert set(found) == set(checks()), f"run: python -m tests.contract.record {provider}"
    claimed = find(provider).info.capabilities
    for check, capability in ONLY_WITH.items():
        assert found[check]["outcome"] == ("passed" if capability in claimed else "skipped")
        assert (capability in found[check]["why"]) is (capability not in claimed)
    assert {found[check]["outcome"] for check in set(checks()) - set(ONLY_WITH)} == {"passed"}


def test_what_did_not_pass_stands_in_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure and a check that was not run are told, not left out."""
    known = copy.deepcopy(recorded())
    known["kind"]["checks"]["test_logs"] = {"outcome": "failed", "why": "no logs"}
    del known["kina"]["checks"]["test_logs"]
    monkeypatch.setattr(tables, "recorded", lambda: known)
    row = next(line for line in conformance().splitlines() if line.startswith("| `test_logs`"))
    cells = dict(zip(PROVIDERS, row.strip("| ").split(" | ")[2:], strict=True))
    assert (cells["kind"], cells["kina"], cells["k3d"]) == ("failed", "not run", "passed")
    assert "* `test_logs` failed, because no logs." in conformance()


def report(check: str, outcome: str, when: str = "call", why: Any = None, suite: str = "TestKind") -> Any:
    """What pytest says of one phase of one test."""
    told = {"longrepr": why, "longreprtext": why if isinstance(why, str) else ""}
    outcomes = {name: name == outcome for name in ("passed", "failed", "skipped")}
    path = "tests/contract/test_conformance_containers.py"
    return SimpleNamespace(nodeid=f"{path}::{suite}::{check}", when=when, outcome=outcome, **outcomes, **told)


def test_a_recorder_believes_the_worst() -> None:
    """A failed teardown undoes a pass; a skip keeps its reason; what is no provider's suite is left out."""
    recorder = Recorder()
    for each in (
        report("test_a", "passed", "setup"),
        report("test_a", "passed"),
        report("test_a", "failed", "teardown", "trace\nE   left"),
        report("test_b", "skipped", why=("f.py", 3, "Skipped: kind does not claim the capability 'reset'")),
        report("test_c", "failed", "setup", "broken"),
        report("test_d", "passed"),
        report("test_e", "passed", suite="TestSomethingElse"),
    ):
        recorder.pytest_runtest_logreport(each)
    assert recorder.outcomes == {
        "kind": {
            "test_a": {"outcome": "failed", "why": "E   left"},
            "test_b": {"outcome": "skipped", "why": "kind does not claim the capability 'reset'"},
            "test_c": {"outcome": "failed", "why": "broken"},
            "test_d": {"outcome": "passed", "why": ""},
        }
    }


def test_a_record_of_some_keeps_that_of_the_others() -> None:
    """And replaces all that was known of those that ran: what they no longer have is gone."""
    known = merged({}, {"kina": {"test_old": {"outcome": "passed", "why": ""}}, "kind": {}})
    both = merged(known, {"kind": {"test_new": {"outcome": "passed", "why": ""}}})["providers"]
    assert both["kina"] == known["providers"]["kina"]
    assert set(both["kind"]["checks"]) == {"test_new"}
    assert set(merged(known, {"kina": {}})["providers"]["kina"]["checks"]) == set()


def test_an_unknown_provider_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything runs."""
    assert main(["minikube"]) == 2
    assert "no suite for minikube; there are embedded, apple_k8s" in capsys.readouterr().err
