"""The command ``pytest-kina``: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cli import main
from pytest_kina.pool import Root, open_root, records
from pytest_kina.pool.records import Record, State
from pytest_kina.report.runs import spooled
from pytest_kina.testing import backend_state, use_backend

# Leases what `up` would warm, says so, and holds it until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from pytest_kina.cli import parser
from pytest_kina.cli.up import prepared, spec_of
from pytest_kina.pool import Pool, open_root
from pytest_kina.settings import for_command
from pytest_kina.spec import Isolation
from pytest_kina.timing import TimingRecorder
from dataclasses import replace

settings = for_command({"ttl": sys.argv[2]}, Path.cwd())
want = prepared(spec_of(parser().parse_args(["up"]), settings), settings)
pool = Pool(open_root(settings.root), run="feedfeedfeedfeed", worker="gw3", size=2, ttl=settings.ttl,
            lease_timeout=10, start_timeout=10, recorder=TimingRecorder(run="feedfeedfeedfeed", worker="gw3"))
pool.lease([replace(want, isolation=Isolation(sys.argv[1]))], note="tests/test_a.py::test_holds")
print("held", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Result:
    """What one command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that does not exist yet, two slots, clusters that are files, and no project around."""
    for name in [name for name in os.environ if name.startswith("KINA_")] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KINA_PROVIDER", "pytest_kina.testing:FakeProvider")
    monkeypatch.setenv("KINA_POOL_SIZE", "2")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "home"


@pytest.fixture
def kina(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one command in this process."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run


@contextmanager
def held(isolation: str, ttl: str = "15m") -> Iterator[subprocess.Popen[str]]:
    """Another process that has leased a cluster."""
    argv = [sys.executable, "-c", HOLDER, isolation, ttl]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", process.communicate()[1]
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)


def edit(root: Root, number: int, **changes: Any) -> Record:
    """Change a record behind everybody's back."""
    record = records.peek(root.slots, number)
    assert record is not None
    changed = replace(record, **changes)
    records.write(root.slots, number, changed)
    return changed


def states(result: Result) -> list[str]:
    """The states of all slots."""
    return [slot["state"] for slot in result.json["slots"]]


# --- status


def test_looking_at_a_pool_that_does_not_exist_makes_none(kina: Command, home: Path) -> None:
    """Status, down and reap say so and leave nothing."""
    assert kina("status").out == f"{home}: there is no pool yet; the first test run or `pytest-kina up` makes it\n"
    assert kina("status", "--json").json == {"root": str(home), "pool": None, "slots": []}
    assert (kina("down").code, kina("reap").code) == (0, 0)
    assert not home.exists()


def test_status_shows_each_slot_with_its_cluster(kina: Command) -> None:
    """State, lock, cluster, version, idle time and TTL of a warm cluster; empty slots too."""
    kina("up", "--ttl", "20m")
    lines = kina("status").out.splitlines()
    headings = "slot state lock cluster what health age memory disk idle ttl who"
    assert lines[1].split() == headings.split()
    assert re.search(r"READY +free .* ok +0s +0 MiB +0 MiB ", lines[2])
    assert "v1.36.3 workloads, 1 node " in lines[2]
    assert "20m 00s" in lines[2]
    assert lines[3].split() == ["1", "EMPTY", "free"]
    assert lines[4] == "1 cluster, 0 MiB of memory, 0 MiB on the disk"


def test_status_shows_a_dead_cluster_as_dead(kina: Command) -> None:
    """READY in a record is no proof of life: the provider is asked, and its words are shown."""
    made = kina("up", "--json").json
    assert kina("status", "--json").json["slots"][0]["healthy"] is True
    (Path(made["directory"]) / "backend").unlink()
    result = kina("status")
    assert re.search(r"READY .* DEAD ", result.out)
    assert f"slot 0: dead: the backend of {made['cluster']} is missing" in result.out.splitlines()
    slot = kina("status", "--json").json["slots"][0]
    assert (slot["state"], slot["healthy"]) == ("READY", False)
    assert slot["health_problem"] == f"the backend of {made['cluster']} is missing"


def test_status_tells_age_and_disk(kina: Command) -> None:
    """The age counts from the creation, and the disk is what the cluster's directory takes up."""
    made = kina("up", "--json").json
    directory = Path(made["directory"])
    os.utime(directory / "cluster.json", (time.time() - 3700, time.time() - 3700))
    (directory / "data").write_bytes(b"x" * 3 * 1024 * 1024)
    slot = kina("status", "--json").json["slots"][0]
    assert slot["age_seconds"] == pytest.approx(3700, abs=60)
    assert 3 * 1024 * 1024 <= slot["disk_bytes"] < 4 * 1024 * 1024
    assert slot["memory_bytes"] == 0, "it has no process"
    assert re.search(r" 1h 01m +0 MiB +3 MiB ", kina("status").out)


def test_status_does_not_judge_a_cluster_whose_provider_is_not_here(kina: Command, home: Path) -> None:
    """It says why nobody could be asked, instead of calling the cluster dead."""
    kina("up")
    edit(open_root(home), 0, provider="no_such_package:Provider")
    slot = kina("status", "--json").json["slots"][0]
    assert slot["healthy"] is None
    assert "could not be loaded from no_such_package:Provider" in slot["health_problem"]
    assert kina("reap", "--json").json["decisions"][0]["decision"] == "nothing"
    assert kina("status", "--json").json["slots"][0]["cluster"] == slot["cluster"]


def test_status_names_the_holder_of_a_leased_cluster(kina: Command) -> None:
    """Run, process, xdist worker, test and since when, for people and for programs."""
    with held("exclusive") as process:
        slot = kina("status", "--json").json["slots"][0]
        text = kina("status").out
    assert (slot["held"], slot["state"], slot["run"]) == (True, "DIRTY", "feedfeedfeedfeed")
    holder = slot["holder"]
    assert (holder["pid"], holder["xdist_worker"], holder["stopped"]) == (process.pid, "gw3", False)
    assert holder["test"] == "tests/test_a.py::test_holds"
    assert abs(holder["since"] - time.time()) < 60
    assert f"using for tests/test_a.py::test_holds by process {process.pid} (gw3) of run feedfeedfeedfeed" in text


def test_status_says_that_a_holder_is_stopped(kina: Command) -> None:
    """A debugger or Ctrl-Z is the usual reason why nothing goes on."""
    with held("exclusive") as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert kina("status", "--json").json["slots"][0]["holder"]["stopped"] is True
        assert "which is STOPPED" in kina("status").out


def test_status_shows_who_shares(kina: Command) -> None:
    """A shared cluster's lock is free; its users are listed."""
    with held("namespace") as process:
        slot = kina("status", "--json").json["slots"][0]
        assert "shared by 1" in kina("status").out
    assert (slot["held"], slot["state"]) == (False, "SHARED")
    assert [user.split(".")[:2] for user in slot["users"]] == [["feedfeedfeedfeed", str(process.pid)]]


def test_status_shows_the_last_error_on_a_line_of_its_own(kina: Command, home: Path) -> None:
    """What went wrong is not cut by a column."""
    kina("up")
    edit(open_root(home), 0, state=State.QUARANTINED, last_error="deleting failed: boom")
    assert "slot 0: deleting failed: boom" in kina("status").out.splitlines()
    assert kina("status", "--json").json["slots"][0]["last_error"] == "deleting failed: boom"


@pytest.mark.parametrize(
    ("content", "state"),
    [("", "UNREADABLE"), ("{", "UNREADABLE"), ('{"schema": 1}', "UNREADABLE"), ('{"schema": 99}', "NEWER")],
)
def test_status_survives_a_record_it_cannot_read(kina: Command, home: Path, content: str, state: str) -> None:
    """Looking never moves or changes a record, and tells a malformed one from one of a newer version."""
    kina("up")
    path = home / "slots" / "0.json"
    path.write_text(content)
    assert states(kina("status", "--json"))[0] == state
    assert ("newer version" in kina("status").out) == (state == "NEWER")
    assert path.read_text() == content


# --- up


def test_up_makes_a_ready_cluster_and_says_where_its_kubeconfig_is(kina: Command) -> None:
    """The cluster is clean, nobody's, and its kubeconfig exists; the text says that it is not reserved."""
    result = kina("up")
    assert result.code == 0
    kubeconfig = Path(result.out.splitlines()[1].removeprefix("kubeconfig: "))
    assert kubeconfig.is_file()
    assert backend_state(kubeconfig.parent) == "clean"
    assert "not reserved" in result.out
    assert states(kina("status", "--json")) == ["READY", "EMPTY"]


def test_up_finds_the_cluster_that_stands_already(kina: Command) -> None:
    """The second call makes nothing, and starts the idle time anew."""
    first = kina("up", "--json", "--ttl=10m").json
    second = kina("up", "--json", "--ttl=30m").json
    assert (first["start"], second["start"]) == ("fresh", "spare"), "made ahead, used by nobody yet"
    assert second["cluster"] == first["cluster"]
    assert kina("status", "--json").json["slots"][0]["ttl_seconds"] == 1800


def test_up_resets_a_used_cluster_of_the_kind(kina: Command, home: Path) -> None:
    """A dirty cluster is made clean before it is called ready."""
    made = kina("up", "--json").json
    use_backend(Path(made["directory"]), "somebody")
    edit(open_root(home), 0, state=State.DIRTY)
    again = kina("up", "--json").json
    assert (again["cluster"], again["start"]) == (made["cluster"], "reused")
    assert backend_state(Path(again["directory"])) == "clean"


def test_up_replaces_a_cluster_that_died(kina: Command) -> None:
    """READY in the record is checked, not believed."""
    made = kina("up", "--json").json
    (Path(made["directory"]) / "backend").unlink()
    again = kina("up", "--json").json
    assert again["start"] == "fresh"
    assert again["cluster"] != made["cluster"]


def test_up_takes_the_spec_from_options_and_named_specs(kina: Command) -> None:
    """Options lie over the named spec, which lies over the project's default."""
    Path("pyproject.toml").write_text(
        '[tool.kina]\nversion = "1.34"\nsimulated_nodes = 2\n[tool.kina.clusters.big]\nsimulated_nodes = 50\n'
    )
    default, big = kina("up", "--json").json, kina("up", "big", "--version=1.35", "--json").json
    assert (default["kubernetes"], default["nodes"]) == ("v1.34.4", 2)
    assert (big["kubernetes"], big["nodes"]) == ("v1.35.4", 50)


def test_up_evicts_nothing(kina: Command) -> None:
    """With all slots taken by other clusters it fails, lists them, and leaves them."""
    kina("up", "--version=1.34")
    kina("up", "--version=1.35")
    before = kina("status", "--json").json
    result = kina("up", "--version=1.36")
    assert result.code == 1
    assert "no slot is free" in result.err
    assert "pytest-kina down" in result.err
    after = kina("status", "--json").json
    assert [slot["cluster"] for slot in after["slots"]] == [slot["cluster"] for slot in before["slots"]]


def test_up_does_not_disturb_a_shared_cluster_in_use(kina: Command) -> None:
    """The cluster of a live run stays as it is; a second one is made."""
    with held("namespace"):
        shared = kina("status", "--json").json["slots"][0]
        made = kina("up", "--json").json
        assert made["slot"] == 1
        assert kina("status", "--json").json["slots"][0]["users"] == shared["users"]


def test_a_cluster_that_cannot_be_made_leaves_nothing(
    kina: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, the provider's words, an empty slot."""
    orders = tmp_path / "orders.json"
    orders.write_text('{"failures": {"create": "boom"}}')
    monkeypatch.setenv("KINA_FAKE", str(orders))
    result = kina("up")
    assert result.code == 1
    assert "boom" in result.err
    assert states(kina("status", "--json")) == ["EMPTY", "EMPTY"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--version=one",), "version: expected"),
        (("--profile=api", "--simulated-nodes=3"), "api"),
        (("--profile=small",), "'small'\nNext step: see `pytest-kina up --help`"),
        (("nobody",), "known are: none"),
        (("--ttl=0",), "--ttl=15m"),
        (("--ttl=soon",), "--ttl: expected a duration"),
        (("--pool-size=0",), "--pool-size: expected"),
        (("--simulated-nodes=many",), "invalid int value"),
        (("--feature-gates={",), "invalid loads value"),
    ],
)
def test_a_wrong_question_is_exit_code_2(kina: Command, home: Path, arguments: Sequence[str], words: str) -> None:
    """The message has the option as it was written and what was expected; nothing was started."""
    result = kina("up", *arguments)
    assert result.code == 2
    assert words in result.err
    assert "--kina-" not in result.err
    assert not home.exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[tool.kina]\nversion = 1.36", "[tool.kina] in {}: version: expected"),
        ("[tool.kina]\nsimulated_nodes = '2'", "[tool.kina] in {}: simulated_nodes: expected"),
        ("[tool.kina]\nfeature_gates = ['a']", "[tool.kina] in {}: feature_gates: expected"),
        ("[tool.kina]\nprofile = 'small'", "[tool.kina] in {}: profile: expected"),
        ("[tool.kina.clusters.big]\nnodes = 3", "[tool.kina.clusters.big] in {}: nodes: no such key"),
    ],
)
def test_up_refuses_a_wrong_spec_of_the_project(kina: Command, home: Path, table: str, words: str) -> None:
    """A wrong default or named spec is exit code 2 and one document with a next step, and starts nothing."""
    Path("pyproject.toml").write_text(table)
    result = kina("up", "--json")
    assert result.code == 2
    assert words.format(Path("pyproject.toml").absolute()) in result.json["error"]
    assert "Next step: allowed keys are" in result.json["error"]
    assert not home.exists()


def test_with_ci_set_up_asks_how_long_the_cluster_should_stay(kina: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """There idle clusters go at once, which is not what somebody wants who calls up."""
    monkeypatch.setenv("CI", "true")
    assert kina("up").code == 2
    assert kina("up", "--ttl=15m").code == 0


# --- down


def test_down_deletes_all_idle_clusters(kina: Command, home: Path) -> None:
    """Afterwards no record, no directory and no backend is left."""
    names = {kina("up", f"--version={version}", "--json").json["cluster"] for version in ("1.35", "1.36")}
    result = kina("down", "--json")
    assert (result.code, set(result.json["deleted"]), result.json["left"]) == (0, names, {})
    assert list((home / "clusters").iterdir()) == []
    assert states(kina("status", "--json")) == ["EMPTY", "EMPTY"]
    assert kina("down").out == "there is no cluster\n"


def test_down_deletes_only_what_is_named(kina: Command) -> None:
    """The other cluster stays."""
    first, second = (kina("up", f"--version={version}", "--json").json["cluster"] for version in ("1.35", "1.36"))
    assert kina("down", second, second).out == f"deleted {second}\n"
    assert [slot["cluster"] for slot in kina("status", "--json").json["slots"]] == [first, ""]


def test_down_of_a_name_nobody_knows_deletes_nothing(kina: Command) -> None:
    """One wrong name among right ones is enough; the message lists the right ones."""
    name = kina("up", "--json").json["cluster"]
    result = kina("down", name, "kina-none")
    assert result.code == 1
    assert f"there is no cluster called kina-none; there are: {name}" in result.err
    assert states(kina("status", "--json"))[0] == "READY"


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
def test_down_never_takes_a_cluster_from_its_user(kina: Command, isolation: str) -> None:
    """Exit code 1, the holder's process and test, and the cluster stands, whether leased, shared or fresh."""
    with held(isolation) as process:
        result = kina("down")
        slot = kina("status", "--json").json["slots"][0]
    assert result.code == 1
    assert f"in use: using for tests/test_a.py::test_holds by process {process.pid} (gw3)" in result.out
    assert slot["cluster"] in result.out


def test_down_takes_what_a_dead_process_left(kina: Command) -> None:
    """A killed holder holds nothing."""
    with held("exclusive") as process:
        process.kill()
        process.wait()
        assert kina("down").code == 0
    assert states(kina("status", "--json")) == ["EMPTY", "EMPTY"]


def test_down_tries_again_what_had_been_given_up(
    kina: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person asks, so a quarantined cluster is deleted; when that fails it says why and returns 1."""
    kina("up")
    edit(open_root(home), 0, state=State.QUARANTINED, attempts=2, last_error="boom")
    orders = tmp_path / "orders.json"
    orders.write_text('{"failures": {"delete": "still boom"}}')
    monkeypatch.setenv("KINA_FAKE", str(orders))
    result = kina("down", "--json")
    assert result.code == 1
    assert "still boom" in next(iter(result.json["left"].values()))
    monkeypatch.delenv("KINA_FAKE")
    assert kina("down").code == 0
    assert states(kina("status", "--json")) == ["EMPTY", "EMPTY"]


def test_what_a_command_deleted_is_timed_for_the_next_run(kina: Command, home: Path) -> None:
    """The deletion is in a helper's spool, which the next run shows; commands that measured nothing leave no run."""
    kina("status")
    kina("up")
    kina("reap")
    kina("down")
    phases = sorted(event.phase for run in (home / "runs").iterdir() for event in spooled(run))
    assert phases == ["create", "delete", "kubectl_ready", "startup"]
    assert len(list((home / "runs").iterdir())) == 2


# --- reap


def test_reap_keeps_a_warm_cluster_and_deletes_it_when_its_time_is_over(kina: Command, home: Path) -> None:
    """The reason has both times."""
    name = kina("up", "--ttl=10m", "--json").json["cluster"]
    # A busy machine may take a second for anything.
    assert re.search(rf"slot 0: keep {name}: idle for \d+s of 10m 00s", kina("reap").out)
    edit(open_root(home), 0, idle_since=time.time() - 601)
    result = kina("reap")
    assert re.search(rf"slot 0: delete {name}: idle for 10m \d\ds of 10m 00s", result.out)
    assert f"slot 0: deleted {name}" in result.out
    assert (result.code, states(kina("status", "--json"))) == (0, ["EMPTY", "EMPTY"])


def test_a_dry_run_changes_nothing(kina: Command, home: Path) -> None:
    """It says what would go, and it does not go."""
    name = kina("up", "--json").json["cluster"]
    edit(open_root(home), 0, state=State.DOOMED, last_error="left unfinished")
    result = kina("reap", "--dry-run", "--json")
    assert result.json["decisions"][0] == {
        "slot": 0,
        "cluster": name,
        "decision": "delete",
        "why": "left unfinished",
    }
    assert (result.code, result.json["done"], result.json["left"]) == (0, [], [])
    assert states(kina("status", "--json")) == ["DOOMED", "EMPTY"]


SITUATIONS: dict[str, dict[str, Any]] = {
    "ready": {"state": State.READY},
    "ready, too long": {"state": State.READY, "idle_since": 1.0},
    "dirty": {"state": State.DIRTY},
    "dirty, too long": {"state": State.DIRTY, "idle_since": 1.0},
    "dirty, run is over, keeps nothing": {"state": State.DIRTY, "ttl": 0.0},
    "ready, run is over, keeps nothing": {"state": State.READY, "ttl": 0.0},
    "shared by the dead": {"state": State.SHARED, "users": ("feed.1.00000000",)},
    "shared by the dead, too long": {"state": State.SHARED, "users": ("feed.1.00000000",), "idle_since": 1.0},
    "doomed": {"state": State.DOOMED},
    "quarantined": {"state": State.QUARANTINED, "attempts": 2},
    "kept for a person": {"state": State.QUARANTINED, "kept": True, "last_error": "kept: test_it"},
    "kept for a person, just now": {"state": State.DIRTY, "kept": True, "last_error": "kept: test_it"},
}


@pytest.mark.parametrize("changes", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_what_reap_says_is_what_it_does(kina: Command, home: Path, changes: dict[str, Any]) -> None:
    """In every state the decision that a dry run prints is the one that tidying takes."""
    kina("up")
    edit(open_root(home), 0, **changes)
    said = kina("reap", "--dry-run", "--json").json["decisions"][0]["decision"]
    result = kina("reap", "--json")
    assert (result.code, result.json["left"]) == (0, [])
    assert (states(kina("status", "--json"))[0] == "EMPTY") == (said == "delete")


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
@pytest.mark.parametrize("ttl", ["15m", "0"])
def test_reap_keeps_what_is_in_use(kina: Command, isolation: str, ttl: str) -> None:
    """Also when the run keeps nothing, as long as its process lives; and it names the process."""
    with held(isolation, ttl) as process:
        result = kina("reap", "--json")
        assert states(kina("status", "--json"))[0] != "EMPTY"
    decision = result.json["decisions"][0]
    assert (result.code, decision["decision"]) == (0, "keep")
    assert str(process.pid) in decision["why"]


def test_reap_finds_a_cluster_without_a_record(kina: Command, home: Path) -> None:
    """Somebody removed the record: the directory that is named for the slot goes."""
    name = kina("up", "--json").json["cluster"]
    (home / "slots" / "0.json").unlink()
    result = kina("reap")
    assert f"slot 0: delete {name}: no record names it" in result.out
    assert "it is empty" not in result.out.splitlines()[0]
    assert list((home / "clusters").iterdir()) == []


def test_reap_deletes_a_dead_cluster_within_its_time(kina: Command) -> None:
    """A cluster that failed its health check is of no use to anybody; a dry run says so without touching it."""
    made = kina("up", "--json").json
    (Path(made["directory"]) / "backend").unlink()
    words = f"slot 0: delete {made['cluster']}: it is dead: the backend of {made['cluster']} is missing"
    assert words in kina("reap", "--dry-run").out.splitlines()
    assert states(kina("status", "--json"))[0] == "READY"
    assert words in kina("reap").out.splitlines()
    assert states(kina("status", "--json")) == ["EMPTY", "EMPTY"]


def test_reap_by_force_deletes_what_nobody_uses(kina: Command, home: Path) -> None:
    """Within its time, too; what a run has kept for a person stays, and the way to delete it is told."""
    idle, kept = (kina("up", f"--version={version}", "--json").json["cluster"] for version in ("1.35", "1.36"))
    edit(open_root(home), 1, state=State.QUARANTINED, kept=True, last_error="kept: test_it")
    result = kina("reap", "--force")
    assert f"slot 0: delete {idle}: nobody uses it, and --force asks for it" in result.out
    assert f"slot 1: keep {kept}: kept: test_it; `pytest-kina down {kept}` deletes it" in result.out
    assert (result.code, states(kina("status", "--json"))) == (0, ["EMPTY", "QUARANTINED"])


@pytest.mark.parametrize("isolation", ["exclusive", "namespace", "fresh"])
def test_reap_by_force_takes_nothing_from_its_user(kina: Command, isolation: str) -> None:
    """Force is about time, not about other people."""
    with held(isolation):
        result = kina("reap", "--force", "--json")
        slot = kina("status", "--json").json["slots"][0]
    assert (result.json["decisions"][0]["decision"], result.json["done"]) == ("keep", [])
    assert slot["cluster"] == result.json["decisions"][0]["cluster"]


def test_reap_deletes_what_a_malformed_record_leaves(kina: Command, home: Path) -> None:
    """The record is moved aside as evidence, and the cluster that is named for the slot goes."""
    name = kina("up", "--json").json["cluster"]
    (home / "slots" / "0.json").write_text("{")
    result = kina("reap")
    assert "slot 0: delete: its record is malformed" in result.out
    assert f"slot 0: delete {name}: no record names it" in result.out
    assert (result.code, list((home / "clusters").iterdir())) == (0, [])
    assert len(list((home / "slots").glob("0.json.torn-*"))) == 1


def test_reap_leaves_a_newer_version_alone(kina: Command, home: Path) -> None:
    """Neither its record nor its cluster is touched, not even by force."""
    name = kina("up", "--json").json["cluster"]
    path = home / "slots" / "0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    before = path.read_bytes()
    result = kina("reap", "--force", "--json")
    assert [each["decision"] for each in result.json["decisions"]] == ["nothing", "nothing"]
    assert (path.read_bytes(), (home / "clusters" / name / "backend").exists()) == (before, True)


def test_reap_is_exit_code_1_when_something_cannot_be_deleted(
    kina: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what is still there."""
    name = kina("up", "--json").json["cluster"]
    edit(open_root(home), 0, state=State.DOOMED)
    orders = tmp_path / "orders.json"
    orders.write_text('{"failures": {"delete": "boom"}}')
    monkeypatch.setenv("KINA_FAKE", str(orders))
    result = kina("reap")
    assert result.code == 1
    assert f"still there: {name}" in result.out


# --- doctor


def test_doctor_says_what_is_good_and_what_to_do_about_the_rest(kina: Command, home: Path) -> None:
    """Each finding with its level, the remedies below, exit code 0 when nothing is bad; and no root is made."""
    result = kina("doctor")
    document = kina("doctor", "--json").json
    assert (result.code, document["bad"]) == (0, 0)
    assert re.search(r"^ok +locks +another process is kept out", result.out, re.MULTILINE)
    assert "nothing that keeps clusters from being made" in result.out
    subjects = [each["subject"] for each in document["findings"]]
    assert {"python", "pytest", "filelock", "root", "locks", "disk", "loopback", "proxies", "clock"} <= set(subjects)
    assert all(each["remedy"] for each in document["findings"] if each["level"] in ("bad", "warning"))
    assert not home.exists()


def test_doctor_is_exit_code_1_when_something_is_bad(kina: Command, home: Path) -> None:
    """The finding and its remedy are printed, in text and in JSON, instead of the refusal of other commands."""
    home.mkdir()
    (home / "content").touch()
    home.chmod(0o755)
    result = kina("doctor")
    assert result.code == 1
    assert re.search(rf"^bad +root +{re.escape(str(home))} is open to other users", result.out, re.MULTILINE)
    assert f"root: chmod 700 {home}" in result.out
    assert result.out.endswith("\n1 bad finding\n")
    document = kina("doctor", "--json")
    assert (document.code, document.json["bad"]) == (1, 1)


# --- all of them


def test_home_is_an_option_too(kina: Command, home: Path, tmp_path: Path) -> None:
    """``--home`` comes before the command and wins over the environment."""
    assert kina("--home", str(tmp_path / "other"), "up", "--json").json["directory"].startswith(str(tmp_path / "other"))
    assert not home.exists()


@pytest.mark.parametrize("command", ["status", "up", "down", "reap"])
def test_a_root_that_cannot_be_used_is_exit_code_1_with_a_next_step(kina: Command, home: Path, command: str) -> None:
    """A directory with content that others may enter is refused by every command, in text and in JSON."""
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    (home / "content").touch()
    result = kina(command, "--json")
    assert result.code == 1
    assert str(home) in result.json["error"]
    assert "Next step: " in result.err


@pytest.mark.parametrize("arguments", [(), ("dance",), ("status", "--fast"), ("reap", "kina-1")])
def test_an_unknown_command_or_option_is_exit_code_2(kina: Command, arguments: Sequence[str]) -> None:
    """It is the code of argparse itself, with the usage."""
    result = kina(*arguments)
    assert result.code == 2
    assert "usage: pytest-kina" in result.err


def test_the_installed_command_works(home: Path) -> None:
    """The console script, as a process: help that names all commands, and the version."""
    program = Path(sys.executable).with_name("pytest-kina")
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"    {command} " in shown for command in ("status", "up", "down", "reap", "doctor", "binaries"))
    assert "Exit codes: 0 done, 1 could not be done, 2 asked wrongly." in shown
    assert subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "pytest-kina "
    )


def test_binaries_are_a_part_of_the_command(kina: Command, home: Path) -> None:
    """The store of the chosen root is listed."""
    result = kina("binaries", "list", "--json")
    assert result.code == 0
    assert result.json is not None
