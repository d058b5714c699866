"""The end of a run without pytest: what is measured more, judged, stored and said, on the fake provider."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import examination, gate
from pytest_kina.examination import Examination, Outcome, Session
from pytest_kina.marks import ClusterRequest
from pytest_kina.metrics import samples
from pytest_kina.metrics.probing import measure
from pytest_kina.metrics.samples import Metric
from pytest_kina.report.summary import RunTimings
from pytest_kina.run import Run
from pytest_kina.settings import Project, resolve
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingEvent
from pytest_kina.waiting import Deadline

SPEC, OTHER = ClusterSpec(), ClusterSpec(profile="api", simulated_nodes=0)
COMMIT = ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "x")


class Examined:
    """A run that can use clusters and then be examined."""

    def __init__(self, tmp_path: Path, **flags: str) -> None:
        chosen: dict[str, str | None] = {
            "provider": "pytest_kina.testing:FakeProvider",
            "pool_size": "3",
            "home": str(tmp_path / "home"),
            "ttl": "0",
            "gate_samples": "3",
            "gate_budget": "1m",
            **flags,
        }
        settings = resolve(flags=chosen, environ={}, project=Project())
        self.run = Run(settings, worker="main")
        self.project = tmp_path / "project"
        self.events: list[TimingEvent] = []

    def use(self, *specs: ClusterSpec) -> None:
        """Lease a cluster of each spec once, measure it like the plugin does, and delete it."""
        for spec in specs:
            loan = self.run.lease(ClusterRequest(clusters=(("", spec),)), note="a test")
            samples.write(self.run.directory, measure(loan.main, when="ready", worker="main"))
            loan.give_back()
            self.run.retire()

    def examine(self, **fields: Any) -> Outcome:
        """Examine it as a green, complete run that may begin a history."""
        known: dict[str, Any] = {"green": True, "partial": (), "keeps": True, "store": self.project / "store"}
        incomplete = fields.pop("incomplete", ())
        session = Session(project=self.project, **(known | fields))
        return Examination(self.run, session, lambda: self._timings(incomplete)).outcome()

    def _timings(self, incomplete: tuple[str, ...]) -> RunTimings:
        if self.run.recorder is not None:
            self.events += self.run.recorder.drain()
        return RunTimings(run=self.run.ticket.run, events=tuple(self.events), incomplete=incomplete)

    def count(self, phase: Phase = Phase.CREATE) -> int:
        """How many samples of a phase the run has."""
        return sum(event.phase is phase for event in self.events)


@pytest.fixture
def examined(tmp_path: Path) -> Iterator[Examined]:
    """A run in a checkout of the default branch."""
    made = Examined(tmp_path)
    made.project.mkdir()
    for command in (("init", "-q", "-b", "main"), COMMIT):
        subprocess.run(["git", *command], cwd=made.project, check=True)
    yield made
    made.run.close()


def _names(outcome: Outcome) -> set[str]:
    return {verdict.name for verdict in outcome.judgement.verdicts}


def test_each_kind_of_cluster_is_topped_up(examined: Examined) -> None:
    """Two kinds that were made once each have three samples afterwards, made of their own spec."""
    examined.use(SPEC, OTHER)
    outcome = examined.examine()
    assert examined.count() == 6
    made = [event for event in outcome.timings.events if event.phase is Phase.CREATE]
    assert sorted(event.profile for event in made) == ["api"] * 3 + ["workloads"] * 3
    assert len([line for line in outcome.said if line.startswith("measured 2 of 2 further clusters")]) == 2
    assert _names(outcome) == {"NEW"}


def test_enough_samples_are_left_alone(examined: Examined) -> None:
    """Nothing is made when the tests have made enough."""
    examined.use(SPEC, SPEC, SPEC)
    assert not [line for line in examined.examine().said if "further clusters" in line]
    assert examined.count() == 3


def _from_templates(examined: Examined) -> None:
    """As if the clusters of the run had started from a template, which deletions do not record."""
    made = (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY)
    examined.examine(keeps=False, green=False)  # collects the events
    examined.events = [replace(event, start="template") if event.phase in made else event for event in examined.events]


def test_one_cycle_lengthens_the_series_of_its_deletion_too(examined: Examined) -> None:
    """Two are missing of each phase, so two clusters are made, not two for the deletions as well."""
    examined.use(SPEC)
    _from_templates(examined)
    said = examined.examine().said
    assert [line for line in said if "further clusters" in line] == [said[0]]
    assert said[0].startswith("measured 2 of 2 further clusters")


def test_deletions_that_are_missing_alone_are_measured(examined: Examined) -> None:
    """One that came too late for the run's events is made good by any cluster of the kind."""
    examined.use(SPEC, SPEC, SPEC)
    _from_templates(examined)
    examined.events.remove(next(event for event in examined.events if event.phase is Phase.DELETE))
    assert examined.examine().said[0].startswith("measured 1 of 1 further clusters")
    assert examined.count(Phase.DELETE) == 3


@pytest.mark.parametrize("candidates", [["delete-fresh-c1"], ["create-template-c2", "ready-template-c1"]])
def test_a_kind_is_measured_again_once(
    examined: Examined, monkeypatch: pytest.MonkeyPatch, candidates: list[str]
) -> None:
    """Whether only deletions have regressed, or several series of one kind, alone or beside others."""
    examined.use(SPEC, SPEC)
    _from_templates(examined)
    first, *_ = examined.events
    examined.events = [
        event if event.cluster == first.cluster else replace(event, concurrency=2) for event in examined.events
    ]
    wanted = []

    def measure(run: Run, specs: list[tuple[ClusterSpec, bool]], count: int, budget: Deadline) -> list[TimingEvent]:
        wanted.extend(specs)
        return []

    def judge(*_: Any) -> gate.Judgement:
        names = [one.split("-", 1) for one in candidates]
        return gate.Judgement(
            machine="m",
            verdicts=tuple(
                gate.Verdict(
                    series=f"kina::{phase}[fake-k8s1.36-workloads-n1-{how}]",
                    phase=phase,
                    provider="fake",
                    name=gate.Name.REGRESSED,
                    reason="",
                    fails=True,
                )
                for phase, how in names
            ),
        )

    monkeypatch.setattr(examination, "measure_apart", measure)
    monkeypatch.setattr(gate, "judge", judge)
    assert examined.examine().judgement.failed
    assert wanted == [(SPEC, False)]


@pytest.mark.parametrize(
    ("fields", "verdict", "why"),
    [
        ({"green": False}, "TOO-FEW", "its tests did not pass"),
        ({"incomplete": ("the run was interrupted",)}, "INCOMPLETE", "the run is incomplete"),
    ],
)
def test_a_run_that_went_wrong_costs_and_becomes_nothing(
    examined: Examined, fields: dict[str, Any], verdict: str, why: str
) -> None:
    """No further clusters, no baseline, and the reason."""
    examined.use(SPEC)
    outcome = examined.examine(**fields)
    assert examined.count() == 1
    assert _names(outcome) == {verdict}
    assert any(why in line for line in outcome.said)
    assert not (examined.project / "store").exists()
    assert not outcome.unstored


def test_a_history_is_begun_only_where_it_is_wanted_and_used_where_it_is(examined: Examined) -> None:
    """Without leave to begin one, an existing directory is the leave."""
    examined.use(SPEC)
    assert "does not exist" in examined.examine(keeps=False).said[-1]
    (examined.project / "store").mkdir()
    outcome = examined.examine(keeps=False)
    assert outcome.said[-1].startswith("history: ")
    assert len(gate.load(examined.project / "store", outcome.judgement.machine).runs) == 1


def test_a_store_that_cannot_be_written_is_told_apart_from_one_that_is_not_wanted(examined: Examined) -> None:
    """The one is a defect of the set-up, the other a choice."""
    examined.use(SPEC)
    (examined.project / "store").write_text("in the way")
    assert examined.examine().unstored
    assert not examined.examine(store=examined.project / "elsewhere").unstored


def test_slow_requests_fail_the_run_and_keep_it_from_the_baseline(examined: Examined) -> None:
    """The API's budget is a verdict like others, judged only with enough requests."""
    examined.use(SPEC)
    slow = {"kind": "cluster", "name": "c", "when": "release", "worker": "main", "provider": "fake"}
    samples.write(examined.run.directory, Metric(**slow, requests=(0.9,) * 58))
    assert not examined.examine(keeps=False).judgement.failed
    samples.write(examined.run.directory, Metric(**slow, requests=(0.9,)))
    outcome = examined.examine()
    (verdict,) = [one for one in outcome.judgement.verdicts if one.fails]
    assert (verdict.series, verdict.name) == ("kina::api_p95[fake]", "OVER-BUDGET")
    (stored,) = (examined.project / "store").glob("*/*.json")
    assert json.loads(stored.read_text())["kina"]["gate"]["accepted"] is False


def test_what_only_some_of_the_tests_would_show_is_noted_in_the_document(examined: Examined) -> None:
    """Later runs and readers see that this one was a selection."""
    examined.use(SPEC)
    assert examined.examine(partial=("-k smoke",)).document["kina"]["partial"] == ["-k smoke"]
