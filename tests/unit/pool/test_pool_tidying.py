"""Cleaning up: what is deleted, what stays, and what the idle helper tells the supervisor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kina.pool.actor import place_of
from pytest_kina.pool.records import record_path
from pytest_kina.pool.tidying import Advice, advise
from pytest_kina.providers import Place
from pytest_kina.testing import CALLS, FakeProvider, backend_state, read_calls, use_backend
from pytest_kina.timing import read_spool
from tests.support.pool_kit import Kit

Order = Callable[..., Path]

Make = Callable[..., Kit]


def age(kit: Kit, slot: int, seconds: float) -> None:
    """Make a slot look as if it had been idle for so long."""
    record = kit.record(slot)
    assert record is not None
    kit.put(slot, replace(record, idle_since=time.time() - seconds))


def ask(kit: Kit, slot: int, cluster: str) -> Advice:
    """What the idle helper would say."""
    return advise(kit.pool._actor, slot, cluster)


def test_clusters_stay_until_they_have_been_idle_for_their_time(make_kit: Make) -> None:
    """The tidier of any run keeps a cluster within the time of the run that used it, and deletes it after."""
    used, tidier = make_kit(ttl=60.0), make_kit(ttl=0.0)
    exclusive = used.lease()
    assert used.lease("namespace").number == 1
    exclusive.release()
    assert tidier.pool.tidy() == []
    age(used, 0, 61)
    age(used, 1, 61)
    (said,) = tidier.pool.tidy()
    assert "slot 0: deleted" in said
    assert "idle for 1m 01s of 1m 00s" in said
    assert used.states() == ["EMPTY", "SHARED"]


def test_idleness_counts_from_the_release(make_kit: Make) -> None:
    """A long lease is no idleness: the time begins when the cluster is given back."""
    kit, tidier = make_kit(ttl=60.0), make_kit()
    lease = kit.lease()
    path = record_path(kit.root.slots, 0)
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    lease.release()
    assert tidier.pool.tidy() == []
    assert kit.status(0).idle_seconds < 60


def test_what_is_in_use_is_never_tidied(make_kit: Make) -> None:
    """Neither a held slot nor a shared cluster with a live user is touched, however old the record."""
    kit, tidier = make_kit(ttl=0.0), make_kit()
    kit.lease()
    kit.lease("namespace")
    age(kit, 0, 9999)
    age(kit, 1, 9999)
    assert tidier.pool.tidy() == []
    assert kit.states() == ["DIRTY", "SHARED"]


def test_without_a_time_to_live_a_cluster_stays_while_its_run_lives(make_kit: Make) -> None:
    """TTL 0 means: as long as a process of the run lives."""
    kit, tidier = make_kit(ttl=0.0), make_kit()
    kit.lease().release()
    assert tidier.pool.tidy() == []
    kit.pool.close()
    assert "deleted" in tidier.pool.tidy()[0]


def test_retiring_deletes_what_the_run_leaves_and_times_it(make_kit: Make) -> None:
    """All clusters of the run go, each with a delete event; one that another run has taken over stays."""
    run, other = make_kit(ttl=0.0, size=3), make_kit(size=3)
    stolen = run.lease()
    stolen.release()
    assert other.lease().name == stolen.name
    mine = [run.lease("namespace").name, run.lease("fresh").name]
    run.phases()
    said = run.pool.retire()
    assert [line.split()[-1] for line in said] == mine
    assert run.phases() == ["delete", "delete"]
    assert run.states() == ["DIRTY", "EMPTY", "EMPTY"]
    assert run.clusters() == [stolen.name]


def test_retiring_waits_for_a_process_that_is_still_ending(make_kit: Make) -> None:
    """A cluster that a process of the run still holds is deleted as soon as that process has ended."""
    run = make_kit(ttl=0.0)
    program = (
        "import sys; from pathlib import Path; from tests.support.pool_kit import Kit;"
        "kit = Kit(Path(sys.argv[1]), run=sys.argv[2]); kit.lease('namespace'); print('leased', flush=True);"
        "sys.stdin.readline(); import time; time.sleep(0.5)"
    )
    argv = [sys.executable, "-c", program, str(run.root.path), run.run]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "leased\n"
        worker.stdin.write("end\n")
        worker.stdin.flush()
        (said,) = run.pool.retire()
        assert worker.wait() == 0
    assert "deleted" in said
    assert run.states() == ["EMPTY", "EMPTY"]


def test_leftovers_without_a_record_are_deleted(make_kit: Make) -> None:
    """A cluster whose record somebody removed is found by its name, by the tidier and by who fills the slot."""
    kit = make_kit()
    lost = kit.lease()
    lost.release()
    record_path(kit.root.slots, 0).unlink()
    said = make_kit().pool.tidy()
    assert said == [f"slot 0: {lost.name} has no record", f"slot 0: deleted {lost.name} (it had no record)"]
    lost = kit.lease()
    lost.release()
    record_path(kit.root.slots, 0).unlink()
    new = kit.lease()
    assert (new.number, kit.clusters()) == (0, [new.name])


def test_what_died_by_itself_is_deleted_within_its_time(make_kit: Make) -> None:
    """The sweep asks the provider: a clean or dirty cluster that is dead goes, one that lives stays."""
    kit = make_kit(size=3)
    dead, alive, dirty = kit.lease(), kit.lease(version="1.35"), kit.lease(version="1.34")
    for lease in (dead, alive, dirty):
        lease.release()
    for lease in (dead, dirty):
        (lease.directory / "backend").unlink()
    said = make_kit().pool.tidy()
    assert said == [
        f"slot {lease.number}: deleted {lease.name} (it is dead: the backend of {lease.name} is missing)"
        for lease in (dead, dirty)
    ]
    assert kit.clusters() == [alive.name]


class Remote(FakeProvider):
    """Makes clusters that exist elsewhere, under their names only: what a tool with labels would list."""

    def __init__(self, existing: set[str]) -> None:
        self.existing = existing

    def delete(self, place: Place) -> None:
        """Forget the name."""
        self.existing.discard(place.name)

    def leftovers(self, clusters: Path) -> list[str]:
        """Every cluster of the tool, whoever made it."""
        return sorted(self.existing)


def test_clusters_known_only_to_a_tool_are_deleted_if_they_are_this_pools(make_kit: Make) -> None:
    """By the pool's id in their names, in every slot, used or not; names of other pools and of people stay."""
    kit = make_kit(size=1)
    pool = kit.root.pool_id
    mine = {f"kina-{pool}-0-00000001", f"kina-{pool}-7-00000002"}
    others = {"kina-ffffff-0-00000003", "kind", f"kina-{pool}-0", f"kina-{pool}-x-1", f"my-kina-{pool}-0-1", "minikube"}
    tool = Remote(mine | others)
    kit.pool._actor.providers["remote"] = tool
    said = kit.pool.tidy()
    assert tool.existing == others
    assert sorted(said) == [
        f"slot {number}: deleted the leftover {name}" for number, name in zip((0, 7), sorted(mine), strict=True)
    ]


def test_a_tool_that_cannot_be_asked_does_not_stop_the_sweep(make_kit: Make) -> None:
    """Its failure is one sentence; the rest is tidied."""
    kit = make_kit()
    kit.lease("fresh").release()

    class Broken(Remote):
        def leftovers(self, clusters: Path) -> list[str]:
            raise OSError("no daemon")

    kit.pool._actor.providers["broken"] = Broken(set())
    said = kit.pool.tidy()
    assert said[0] == "broken could not be asked for clusters without a record: OSError: no daemon"
    assert kit.clusters() == []


def test_a_leftover_beside_a_recorded_cluster_is_deleted(kit: Kit) -> None:
    """What is named for a slot but not by its record goes; the recorded cluster stays."""
    lease = kit.lease()
    lease.release()
    stray = kit.root.clusters / f"kina-{kit.root.pool_id}-0-deadbeef"
    stray.mkdir()
    (stray / "backend").write_text("{}", encoding="utf-8")
    assert kit.pool.tidy() == [f"slot 0: deleted the leftover {stray.name}"]
    assert kit.clusters() == [lease.name]


def test_a_leftover_that_cannot_be_deleted_is_named_and_keeps_nobody_from_the_slot(kit: Kit, order: Order) -> None:
    """Each look says why it is still there; the slot's own cluster is handed out all the same."""
    lease = kit.lease("namespace")
    lease.release()
    stray = kit.root.clusters / f"kina-{kit.root.pool_id}-0-deadbeef"
    stray.mkdir()
    order(failures={"delete": "it is stuck"})
    (said,) = [text for text in kit.pool.tidy() if "leftover" in text]
    assert said.startswith(f"slot 0: the leftover {stray.name} could not be deleted: ")
    assert "it is stuck" in said
    assert kit.lease("namespace").name == lease.name


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1, "state": "PINK"}', '{"schema": 1}', "[1]"])
def test_a_torn_record_is_moved_aside_and_its_cluster_deleted(make_kit: Make, content: str) -> None:
    """After a power loss nothing that a record does not vouch for is handed out; the evidence stays."""
    kit = make_kit()
    lease = kit.lease()
    lease.release()
    record_path(kit.root.slots, 0).write_text(content, encoding="utf-8")
    said = make_kit().pool.tidy()
    assert "was malformed" in said[0]
    assert f"deleted {lease.name}" in said[-1]
    assert (kit.states(), kit.clusters()) == (["EMPTY", "EMPTY"], [])
    assert len(list(kit.root.slots.glob("0.json.torn-*"))) == 1


def test_a_record_cannot_lead_out_of_the_clusters(make_kit: Make) -> None:
    """A record whose cluster is a path is malformed: nothing outside is ever deleted for it."""
    kit = make_kit()
    kit.lease().release()
    record = kit.record(0)
    assert record is not None
    kit.put(0, replace(record, cluster="kina-/../../precious"))
    precious = kit.root.path.parent / "precious"
    precious.mkdir()
    make_kit().pool.tidy()
    assert precious.is_dir()


def test_a_newer_record_is_left_alone(make_kit: Make) -> None:
    """Neither tidying nor leasing touches the slot of a newer version, and status says that it cannot be read."""
    kit = make_kit()
    lease = kit.lease()
    lease.release()
    path = record_path(kit.root.slots, 0)
    document = json.loads(path.read_text(encoding="utf-8")) | {"schema": 2}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert "schema 2" in make_kit().pool.tidy()[0]
    assert kit.lease().number == 1
    assert json.loads(path.read_text(encoding="utf-8")) == document
    assert kit.status(0).state == "NEWER"
    assert lease.directory.is_dir()


def test_a_cluster_of_an_unknown_provider_is_left_alone(make_kit: Make) -> None:
    """Where its provider is not installed nobody deletes it, and nobody counts an attempt."""
    kit = make_kit(ttl=0.0)
    kit.lease("fresh").release()
    record = kit.record(0)
    assert record is not None
    kit.put(0, replace(record, provider="no_such_package:Provider"))
    assert "could not be loaded" in make_kit().pool.tidy()[0]
    assert kit.record(0).attempts == 0  # type: ignore[union-attr]
    assert kit.lease().number == 1


def test_a_cluster_of_an_unknown_provider_does_not_stand_in_the_way(kit: Kit) -> None:
    """In a full pool the slot that nobody here can empty is passed over, also when it has been idle longest."""
    for lease in (kit.lease(), kit.lease()):
        lease.release()
    record = kit.record(0)
    assert record is not None
    kit.put(0, replace(record, provider="no_such_package:Provider", idle_since=time.time() - 500))
    assert kit.lease(version="1.35").number == 1


def test_a_cluster_without_a_description_is_deleted(kit: Kit) -> None:
    """Without cluster.json it cannot be reset, so the next taker replaces it."""
    lease = kit.lease()
    lease.release()
    (lease.directory / "cluster.json").unlink()
    assert kit.lease().name != lease.name
    assert len(kit.clusters()) == 1


def test_free_lock_files_of_the_dead_are_removed(make_kit: Make) -> None:
    """Process and build locks that nobody holds go; held ones and the slots' own stay."""
    kit = make_kit()
    kit.lease()
    for directory in (kit.root.processes, kit.root.builds):
        (directory / "dead.1.00000000.lock").touch()
    old = kit.root.builds / "dead.json"
    old.touch()
    os.utime(old, (0, 0))
    make_kit().pool.tidy()
    assert len(list(kit.root.processes.iterdir())) == 1
    assert list(kit.root.builds.iterdir()) == []
    assert (kit.root.slots / "0.lock").exists()


def test_lock_file_that_cannot_be_removed_is_told(make_kit: Make) -> None:
    """What is in the way is named, and the files after it are removed all the same."""
    kit = make_kit()
    odd = [
        directory / f"a.1.0{suffix}"
        for directory, suffix in ((kit.root.processes, ".lock"), (kit.root.builds, ".json"))
    ]
    for path in odd:
        path.mkdir()
        os.utime(path, (0, 0))
        (path.parent / "b.1.00000000.lock").touch()
    said = kit.pool.tidy()
    assert [f"{path} cannot be" in sentence for path, sentence in zip(odd, said, strict=True)] == [True, True]
    assert [*kit.root.processes.iterdir(), *kit.root.builds.iterdir()] == odd


def test_tidying_begins_nothing_after_its_budget(make_kit: Make) -> None:
    """Without time it leaves the slots to the next run, and says so."""
    kit = make_kit()
    kit.lease("fresh").release()
    assert "left to the next run" in kit.pool.tidy(budget=0.0)[0]
    assert len(kit.clusters()) == 1


def test_the_helper_looks_again_while_somebody_holds_the_slot(kit: Kit) -> None:
    """A busy lock is a reason to come back in a second, and to do nothing."""
    lease = kit.lease()
    assert ask(kit, 0, lease.name) == Advice(wake_after=1.0)


def test_the_helper_stops_where_its_cluster_is_no_more(make_kit: Make) -> None:
    """An empty slot, or one with another cluster, means that the supervisor has nothing to keep."""
    kit = make_kit(size=1)
    lease = kit.lease()
    lease.release()
    assert ask(kit, 0, "kina-000000-0-00000000").stop
    kit.pool.retire()
    assert ask(kit, 0, lease.name).stop


def test_the_helper_resets_a_dirty_cluster_when_its_run_is_over(make_kit: Make) -> None:
    """It is clean before the next run asks, which then needs no reset; the helper comes back at the end of its time."""
    kit, later = make_kit(ttl=500.0), make_kit()
    lease = kit.lease()
    use_backend(lease.directory, "a test")
    kit.pool.close()
    advice = ask(kit, 0, lease.name)
    assert advice.wake_after == pytest.approx(500, abs=20)
    assert (advice.stop, kit.status(0).state, backend_state(lease.directory)) == (False, "READY", "clean")
    assert [call["action"] for call in read_calls(kit.root.path / CALLS)] == ["create", "adopt", "reset", "adopt"]
    kit.phases()
    assert (later.lease().name, later.phases()) == (lease.name, ["lease_wait"])


def test_the_helper_waits_a_moment_while_the_run_goes_on(make_kit: Make) -> None:
    """Between two tests of one run it leaves the cluster to the next test, and watches the run."""
    kit = make_kit()
    lease = kit.lease()
    lease.release()
    advice = ask(kit, 0, lease.name)
    assert advice.wake_after is not None
    assert 0 < advice.wake_after <= 1
    assert [Path(path).parent for path in advice.watch] == [kit.root.processes]
    age(kit, 0, 5)
    ask(kit, 0, lease.name)
    assert kit.status(0).state == "READY"


def test_the_helper_leaves_a_dirty_cluster_to_those_who_wait(make_kit: Make) -> None:
    """While somebody waits, the next taker resets it: a reset in the background would only be in the way."""
    kit, waiter = make_kit(size=1), make_kit(size=1)
    lease = kit.lease()
    lease.release()
    kit.pool.close()
    waiter.pool._hint.touch()
    assert ask(kit, 0, lease.name) == Advice(wake_after=1.0)
    assert kit.status(0).state == "DIRTY"


def test_the_helper_watches_the_users_of_a_shared_cluster(make_kit: Make) -> None:
    """With a live user it does nothing until all of them have ended; then it resets the cluster."""
    kit = make_kit()
    lease = kit.lease("namespace")
    advice = ask(kit, 0, lease.name)
    assert (advice.wake_after, advice.stop) == (None, False)
    (watched,) = advice.watch
    assert Path(watched).exists()
    kit.pool.close()
    assert not Path(watched).exists()
    ask(kit, 0, lease.name)
    assert kit.status(0).state == "READY"


def test_the_helper_leaves_an_empty_shared_cluster_to_its_run_for_a_while(make_kit: Make) -> None:
    """The run may join it again as it is; after ten seconds it is taken to be abandoned."""
    kit = make_kit()
    lease = kit.lease("namespace")
    lease.release()
    advice = ask(kit, 0, lease.name)
    assert advice.wake_after == pytest.approx(10, abs=2)
    assert kit.status(0).state == "SHARED"
    age(kit, 0, 11)
    ask(kit, 0, lease.name)
    assert kit.status(0).state == "READY"


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
def test_the_helper_deletes_what_nothing_will_use(make_kit: Make, isolation: str) -> None:
    """Past its time, after a run without reuse, or used as fresh: the cluster is deleted and its supervisor ends."""
    kit = make_kit(ttl=0.0)
    lease = kit.lease(isolation)
    kit.pool.close()
    assert ask(kit, 0, lease.name) == Advice(stop=True)
    assert (kit.states(), kit.clusters()) == (["EMPTY", "EMPTY"], [])


def test_the_helper_keeps_a_clean_cluster_of_a_run_that_lives(make_kit: Make) -> None:
    """Without a time to live a READY cluster stays until the run's processes have ended."""
    kit = make_kit(ttl=0.0)
    lease = kit.lease()
    lease.release()
    age(kit, 0, 5)
    advice = ask(kit, 0, lease.name)
    assert (kit.status(0).state, advice.wake_after, len(advice.watch)) == ("READY", None, 1)
    kit.pool.close()
    assert ask(kit, 0, lease.name).stop


def test_the_helper_gives_up_on_a_cluster_that_cannot_be_reset_or_deleted(
    make_kit: Make, order: Callable[..., Path]
) -> None:
    """Bounded tries end in quarantine, and the helper has no more to do."""
    calls = order(failures={"reset": "stuck", "delete": "busy"})
    kit = make_kit()
    lease = kit.lease()
    kit.pool.close()
    assert ask(kit, 0, lease.name) == Advice()
    assert kit.status(0).state == "QUARANTINED"
    counted = [call["action"] for call in read_calls(calls)]
    assert (counted.count("reset"), counted.count("delete")) == (2, 2)


def test_the_helper_command_answers_with_one_line(make_kit: Make) -> None:
    """The command of a place, run as the supervisor runs it, tidies the slot, times it for the run, and says what next."""
    kit = make_kit(ttl=0.0)
    lease = kit.lease()
    (kit.root.runs / kit.run).mkdir()
    kit.pool.close()
    argv = place_of(kit.root, 0, lease.name).tidy
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(done.stdout) == {"wake_after": None, "watch": [], "stop": True}
    assert kit.states() == ["EMPTY", "EMPTY"]
    (event,) = read_spool(kit.root.runs / kit.run / "idle-0.jsonl")
    assert (event.phase, event.run, event.cluster) == ("delete", kit.run, lease.name)


def test_the_helper_command_does_not_make_a_root_again(tmp_path: Path) -> None:
    """A root that was removed stays removed, and the supervisor is told to stop."""
    argv = [sys.executable, "-P", "-m", "pytest_kina._tidy", "--root", str(tmp_path / "gone"), "--slot", "0"]
    done = subprocess.run([*argv, "--cluster", "kina-x-0-y"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["stop"] is True
    assert not (tmp_path / "gone").exists()


def test_half_written_records_of_the_dead_go(make_kit: Callable[..., Kit]) -> None:
    """What a killed writer left of a slot's record is removed under that slot's lock; a busy slot is left alone."""
    kit, other = make_kit(), make_kit()
    lease = other.lease()
    mine, busy = (kit.root.slots / f".{number}.json.4711.deadbeef.tmp" for number in (1 - lease.number, lease.number))
    for path in (mine, busy):
        path.write_text("{")
    kit.pool.tidy()
    assert not mine.exists()
    assert busy.exists()
    lease.release()
    kit.pool.tidy()
    assert not busy.exists()


def test_the_helper_deletes_what_cannot_be_reset(make_kit: Make, order: Callable[..., Path]) -> None:
    """Where the provider cannot reset, a used cluster goes as soon as its run is over."""
    calls = order(capabilities=[])
    kit = make_kit()
    lease = kit.lease()
    lease.release()
    kit.pool.close()
    assert ask(kit, lease.number, lease.name) == Advice(stop=True)
    assert kit.clusters() == []
    assert [call["action"] for call in read_calls(calls) if call["action"] in ("reset", "delete")] == ["delete"]
