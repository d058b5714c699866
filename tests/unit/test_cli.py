"""The command ``pytest-kina``: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import json
import os
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
    assert lines[1].split() == ["slot", "state", "lock", "cluster", "what", "idle", "ttl", "who"]
    assert "READY" in lines[2]
    assert "v1.36.3 workloads, 1 node " in lines[2]
    assert "20m 00s" in lines[2]
    assert lines[3].split() == ["1", "EMPTY", "free"]


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


@pytest.mark.parametrize("content", ["", "{", '{"schema": 99}'])
def test_status_survives_a_record_it_cannot_read(kina: Command, home: Path, content: str) -> None:
    """Looking never moves or changes a record."""
    kina("up")
    path = home / "slots" / "0.json"
    path.write_text(content)
    assert states(kina("status", "--json"))[0] == "UNREADABLE"
    assert kina("status").code == 0
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
    assert (first["start"], second["start"]) == ("fresh", "reused")
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
    assert f"slot 0: keep {name}: idle for 0s of 10m 00s" in kina("reap").out
    edit(open_root(home), 0, idle_since=time.time() - 601)
    result = kina("reap")
    assert f"slot 0: delete {name}: idle for 10m 01s of 10m 00s" in result.out
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
    assert f"slot 0: delete {name}: a directory without a record" in result.out
    assert list((home / "clusters").iterdir()) == []


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
    assert all(f"    {command} " in shown for command in ("status", "up", "down", "reap", "binaries"))
    assert "Exit codes: 0 done, 1 could not be done, 2 asked wrongly." in shown
    assert subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "pytest-kina "
    )


def test_binaries_are_a_part_of_the_command(kina: Command, home: Path) -> None:
    """The store of the chosen root is listed."""
    result = kina("binaries", "list", "--json")
    assert result.code == 0
    assert result.json is not None
