"""What one process needs to lease clusters, without pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.errors import BinaryError, ProviderUnavailableError, StateError
from pytest_kina.marks import ClusterRequest
from pytest_kina.run import Run, Ticket, provider_name, slug
from pytest_kina.settings import Project, Settings, resolve
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.testing import use_backend
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
    run = Run(chosen, Ticket.new(chosen), worker="gw0")
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


def test_unusable_root_is_an_error_of_the_lease(tmp_path: Path) -> None:
    """A root that cannot be used is remembered by preparation, and raised by whoever needs a cluster."""
    (tmp_path / "home").write_text("a file")
    chosen = settings(tmp_path / "home")
    run = Run(chosen, Ticket.new(chosen), worker="main")
    run.prepare([SPEC])
    with pytest.raises(StateError, match="is not a directory"):
        run.lease(request(), note="me")


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


def test_retiring_deletes_only_without_time_to_live(tmp_path: Path) -> None:
    """At the end of a run, clusters go with TTL 0 and stay otherwise."""
    for ttl, left in (("0", 0), ("15m", 1)):
        chosen = settings(tmp_path / ttl, ttl=ttl)
        run = Run(chosen, Ticket.new(chosen), worker="main")
        run.lease(request(), note="me").give_back()
        run.retire()
        run.close()
        assert len(list((tmp_path / ttl / "slots").glob("*.json"))) == left


def test_provider_is_that_of_the_spec_else_of_the_run(tmp_path: Path) -> None:
    """A spec may name its provider; ``auto`` means that of the run, and there the one of this platform."""
    auto = settings(tmp_path, provider="auto")
    kind = settings(tmp_path, provider="kind")
    assert provider_name(SPEC, auto) == "embedded"
    assert provider_name(SPEC, kind) == "kind"
    assert provider_name(ClusterSpec(provider="k3d"), kind) == "k3d"


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
    run = Run(chosen, Ticket.new(chosen), worker="main")
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
