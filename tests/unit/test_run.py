"""What one process needs to lease clusters, without pytest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.doctor import Finding, Level
from pytest_kina.errors import BinaryError, ProviderUnavailableError, ProvisionError, StateError
from pytest_kina.marks import ClusterRequest
from pytest_kina.progress import Progress
from pytest_kina.providers.auto import Auto
from pytest_kina.report.series import comparable
from pytest_kina.run import Run, Ticket, Timings, provider_name, slug
from pytest_kina.settings import Project, Settings, resolve
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.testing import FakeProvider, read_calls, use_backend
from pytest_kina.timing import Phase, read_spool

SPEC = ClusterSpec()


def settings(root: Path, **flags: str) -> Settings:
    """Settings with the fake provider and a root of their own."""
    chosen: dict[str, str | None] = {"provider": "pytest_kina.testing:FakeProvider", "pool_size": "3", **flags}
    return resolve(flags={"home": str(root), **chosen}, environ={}, project=Project())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run that has not done anything."""
    chosen = settings(tmp_path / "home")
    run = Run(chosen, worker="gw0")
    yield run
    run.close()


def request(*clusters: tuple[str, ClusterSpec], **how: Any) -> ClusterRequest:
    """A request for these clusters, or for one default one."""
    return ClusterRequest(clusters=clusters or (("", SPEC),), **how)


def test_ticket_has_plain_values_and_a_new_id(tmp_path: Path) -> None:
    """Each run has an id of its own, 16 hex digits, and its size is settled once."""
    chosen = settings(tmp_path)
    one, two = Ticket.new(chosen), Ticket.new(chosen)
    assert one.run != two.run
    assert (len(one.run), int(one.run, 16) >= 0) == (16, True)
    assert (one.root, one.pool_size) == (str(tmp_path), 3)


def test_nothing_happens_before_the_first_cluster(run: Run) -> None:
    """A run that leases nothing makes no directory and has no recorder."""
    run.prepare([])
    run.retire()
    run.close()
    assert run.recorder is None
    assert not run.used
    assert not run.directory.parent.parent.exists()


def test_loan_has_handles_by_name_and_a_main_one(run: Run) -> None:
    """Clusters are found by their names; the main one is the unnamed one, else the first."""
    loan = run.lease(request(("east", SPEC), ("", ClusterSpec(version="1.35"))), note="me")
    assert list(loan.clusters) == ["east", ""]
    assert loan.main.version == "v1.35.4"
    loan.give_back()
    loan.give_back()
    named = run.lease(request(("east", SPEC), ("west", SPEC)), note="me")
    assert named.main is named.clusters["east"]
    assert named.clusters["east"].name != named.clusters["west"].name


def test_isolation_of_the_request_reaches_the_pool(run: Run) -> None:
    """A fresh request never gets a used cluster, an exclusive one gets it reset."""
    shared = run.lease(request(), note="one")
    use_backend(shared.main.directory, "one")
    shared.give_back()
    fresh = run.lease(request(isolation=Isolation.FRESH), note="two")
    assert fresh.main.name != shared.main.name
    fresh.give_back()


def test_error_of_a_preparation_is_raised_by_each_lease(run: Run) -> None:
    """What cannot be prepared does not stop the rest, and is not tried again."""
    wrong = ClusterSpec(version="1.99")
    run.prepare([wrong, SPEC])
    for _ in range(2):
        with pytest.raises(BinaryError, match=r"no Kubernetes 1\.99"):
            run.lease(request(("", wrong)), note="me")
    assert run.lease(request(), note="me").main.version == "v1.36.3"


def test_a_failed_preparation_is_not_repeated_by_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes of a build that fails are spent once per run: the others raise the same kind of error with its cause."""
    monkeypatch.setenv("KINA_FAKE", str(tmp_path / "orders.json"))
    (tmp_path / "orders.json").write_text('{"failures": {"prepare": "the compiler was killed"}}')
    first = Run(settings(tmp_path / "home"), worker="gw0")
    second = Run(settings(tmp_path / "home"), worker="gw1", ticket=first.ticket)
    first.prepare([SPEC])
    second.prepare([SPEC])
    with pytest.raises(
        BinaryError, match="not tried again, because it has failed in this run: the compiler was killed"
    ):
        second.lease(request(), note="me")
    assert [call["action"] for call in read_calls(tmp_path / "orders.json.calls")] == ["prepare"]
    first.close()
    second.close()


def test_unusable_root_is_an_error_of_the_lease(tmp_path: Path) -> None:
    """A root that cannot be used is remembered by preparation, and raised by whoever needs a cluster."""
    (tmp_path / "home").write_text("a file")
    chosen = settings(tmp_path / "home")
    run = Run(chosen, worker="main")
    run.prepare([SPEC])
    with pytest.raises(StateError, match="is not a directory"):
        run.lease(request(), note="me")


class OnDocker(FakeProvider):
    """A provider whose clusters run in containers."""

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Also names the container runtime, and a tool version of its own."""
        return {**super().prepare(spec, progress), "provider_version": "0.29.1", "runtime": "docker 29.1.0"}


def test_every_event_says_what_the_cluster_ran_on(tmp_path: Path) -> None:
    """Timings under another runtime or tool are not comparable, so each event of a cluster names both."""
    run = Run(settings(tmp_path / "home", provider=f"{__name__}:OnDocker", ttl="0"), worker="gw0")
    loan = run.lease(request(), note="me")
    with Timings(run, loan.main, loan.leases[0]).measure("install"):
        pass
    loan.give_back()
    run.retire()
    run.close()
    events = [event for event in read_spool(run.directory / "gw0.jsonl") if event.cluster]
    assert {Phase.CREATE, Phase.INSTALL, Phase.LEASE_WAIT, Phase.DELETE} <= {event.phase for event in events}
    assert {(event.provider_version, event.runtime) for event in events} == {("0.29.1", "docker 29.1.0")}
    assert {series.runtimes for series in comparable(events)} == {("docker 29.1.0",)}


def test_the_error_of_a_failed_lease_says_what_the_machine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the doctor finds bad is part of it, once, looked at once; what the error says already is not repeated."""
    (tmp_path / "orders.json").write_text('{"failures": {"create": "there is no memory"}}')
    monkeypatch.setenv("KINA_FAKE", str(tmp_path / "orders.json"))
    findings = [
        Finding(subject="memory", level=Level.BAD, what="there is no memory", remedy="buy some"),
        Finding(subject="disk", level=Level.BAD, what="3 MiB are free", remedy="make room"),
    ]
    looks: list[Settings] = []
    monkeypatch.setattr("pytest_kina.doctor.complaints", lambda asked: looks.append(asked) or findings)
    run = Run(settings(tmp_path / "home"), worker="main")
    for _ in range(2):
        with pytest.raises(ProvisionError) as caught:
            run.lease(request(), note="me")
        lines = str(caught.value).splitlines()
        assert lines[-3:-1] == ["`pytest-kina doctor` finds:", "  disk: 3 MiB are free - make room"]
        assert "memory: " not in str(caught.value)
    assert len(looks) == 1
    run.close()


def test_a_doctor_that_fails_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explaining is a service: the error of the lease arrives as it is."""
    (tmp_path / "orders.json").write_text('{"failures": {"create": "there is no memory"}}')
    monkeypatch.setenv("KINA_FAKE", str(tmp_path / "orders.json"))
    monkeypatch.setattr("pytest_kina.doctor.complaints", lambda _: 1 / 0)
    run = Run(settings(tmp_path / "home"), worker="main")
    with pytest.raises(ProvisionError, match="there is no memory"):
        run.lease(request(), note="me")
    run.close()


def test_events_are_spooled_by_worker(run: Run) -> None:
    """Preparation and lease leave their events in the worker's file of this run."""
    run.prepare([SPEC])
    run.lease(request(), note="me")
    events = read_spool(run.directory / "gw0.jsonl")
    assert [event.phase for event in events] == [
        Phase.BINARIES,
        Phase.CREATE,
        Phase.STARTUP,
        Phase.KUBECTL_READY,
        Phase.LEASE_WAIT,
    ]
    assert {(event.run, event.worker, event.provider) for event in events} == {(run.ticket.run, "gw0", "fake")}
    assert list(run.directory.glob("*.progress.json")) == []


def test_images_are_loaded_into_each_cluster_that_wants_them(tmp_path: Path, run: Run) -> None:
    """Measured, before the test gets its cluster; the archives are looked for in the preparation, measured as well."""
    archive = tmp_path / "app.tar"
    archive.touch()
    wanting = ClusterSpec(images=(str(archive),))
    run.prepare([wanting])
    loan = run.lease(request(("east", wanting), ("west", SPEC)), note="me")
    backends = [json.loads((loan.clusters[name].directory / "backend").read_text()) for name in ("east", "west")]
    assert [backend.get("images") for backend in backends] == [["app.tar"], None]
    events = [
        event for event in read_spool(run.directory / "gw0.jsonl") if event.phase in (Phase.IMAGES, Phase.IMAGE_LOAD)
    ]
    assert [(event.phase, event.cluster) for event in events] == [
        (Phase.IMAGES, ""),
        (Phase.IMAGE_LOAD, loan.clusters["east"].name),
    ]


def test_a_lease_whose_images_cannot_be_loaded_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error reaches the test, and the only slot is free for the next one."""
    (tmp_path / "app.tar").touch()
    (tmp_path / "orders.json").write_text('{"failures": {"load_image": {"text": "the node has no disk", "times": 1}}}')
    monkeypatch.setenv("KINA_FAKE", str(tmp_path / "orders.json"))
    run = Run(settings(tmp_path / "home", pool_size="1", lease_timeout="10s"), worker="main")
    wanting = request(("", ClusterSpec(images=(str(tmp_path / "app.tar"),))))
    with pytest.raises(ProvisionError, match="the node has no disk"):
        run.lease(wanting, note="one")
    run.lease(wanting, note="two").give_back()
    run.close()


def test_a_root_that_is_gone_at_the_end_of_a_run_is_only_mentioned(tmp_path: Path) -> None:
    """The tests have their results; what could not be deleted is said."""
    run = Run(settings(tmp_path / "home", ttl="0"), worker="main")
    run.lease(request(), note="me").give_back()
    (tmp_path / "home" / "slots").rename(tmp_path / "elsewhere")
    (tmp_path / "home" / "slots").touch()
    run.retire()
    assert [line.partition(":")[0] for line in run.said] == ["this run's clusters could not be deleted at its end"]
    run.close()


def test_retiring_deletes_only_without_time_to_live(tmp_path: Path) -> None:
    """At the end of a run, clusters go with TTL 0 and stay otherwise."""
    for ttl, left in (("0", 0), ("15m", 1)):
        chosen = settings(tmp_path / ttl, ttl=ttl)
        run = Run(chosen, worker="main")
        run.lease(request(), note="me").give_back()
        run.retire()
        run.close()
        assert len(list((tmp_path / ttl / "slots").glob("*.json"))) == left


def test_provider_is_that_of_the_spec_else_of_the_run(tmp_path: Path) -> None:
    """A spec may name its provider; ``auto`` means that of the run, and there the one of this platform."""
    auto = settings(tmp_path, provider="auto")
    kind = settings(tmp_path, provider="kind")
    assert provider_name(SPEC, auto, Auto({})) == "embedded"
    assert provider_name(SPEC, kind, Auto({})) == "kind"
    assert provider_name(ClusterSpec(provider="k3d"), kind, Auto({})) == "k3d"


def test_provider_gets_the_settings_it_has_parameters_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is told the root, and where binaries may come from, as far as it asks."""
    from pytest_kina.testing import FakeProvider

    told: dict[str, object] = {}

    class Asking(FakeProvider):
        def __init__(self, root: Path, offline: bool, mirror: str | None, assets: tuple[Path, ...]) -> None:
            told.update(root=root, offline=offline, mirror=mirror, assets=assets)

        def unavailable(self) -> str | None:
            return "it only asks"

    monkeypatch.setattr("pytest_kina.testing.Asking", Asking, raising=False)
    chosen = settings(tmp_path, provider="pytest_kina.testing:Asking", offline="true", assets="/a", mirror="http://m")
    run = Run(chosen, worker="main")
    with pytest.raises(ProviderUnavailableError, match="cannot run here: it only asks"):
        run.lease(request(), note="me")
    assert told == {"root": tmp_path, "offline": True, "mirror": "http://m", "assets": (Path("/a"),)}
    run.close()


@pytest.mark.parametrize("test_id", ["a.py::test", "a/b.py::T::test[x-1]", "ü" * 400, "../../etc", "::"])
def test_slug_is_a_file_name(test_id: str, tmp_path: Path) -> None:
    """A slug is a plain file name, readable where possible, and different for different ids."""
    name = slug(test_id)
    (tmp_path / name).mkdir()
    assert (tmp_path / name).parent == tmp_path
    assert slug(f"{test_id} ") != name
