"""The command ``pytest-kina bench``, with clusters that are files: turns, failures, skips, bad arguments, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_kina.capabilities import CAPABILITIES
from pytest_kina.cli import main
from pytest_kina.errors import ProvisionError
from pytest_kina.pool import open_root, records
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import FakeProvider
from pytest_kina.timing import Stopwatch

FAKE = "pytest_kina.testing:FakeProvider"
BAD, RUDE, STUCK = (f"{__name__}:{name}" for name in ("Bad", "Rude", "Stuck"))
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/bench.schema.json").read_text())


class _Named(FakeProvider):
    """A fake that is told apart from the other one."""

    @property
    def info(self) -> ProviderInfo:
        """Its own name."""
        known = super().info
        return ProviderInfo(
            name=type(self).__name__.lower(), version="2.0", capabilities=known.capabilities, supervised=True
        )


class Bad(_Named):
    """Cannot make clusters."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Fail as providers should."""
        raise ProvisionError("the crane is broken\nand rusty", next_step="mend it")


class Rude(_Named):
    """Has a bug."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Fail as nobody expects."""
        raise ZeroDivisionError("oops")


class Stuck(_Named):
    """Fails to delete the cluster at the first try of each."""

    def delete(self, place: Place) -> None:
        """Fail once."""
        tried = place.directory / "tried"
        if place.directory.exists() and not tried.exists():
            tried.touch()
            raise ProvisionError("it is stuck")
        super().delete(place)


Bench = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that does not exist yet, and no project around."""
    for name in [name for name in os.environ if name.startswith("KINA_")] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KINA_POOL_SIZE", "2")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def bench(home: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs the command in this process: its code, its document, and what it said meanwhile."""

    def run(providers: str, *arguments: str, deployment: bool = False) -> tuple[int, Any, str]:
        capsys.readouterr()
        argv = ["bench", "--json", f"--providers={providers}", *arguments]
        try:
            code = main([*argv, *([] if deployment else ["--no-deployment"])])
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


def nothing_left(home: Path) -> bool:
    """No cluster, and no record of one."""
    return list((home / "clusters").iterdir()) == [] and records.numbers(open_root(home).slots) == []


def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **orders: object) -> None:
    """Tell the fakes what to do."""
    (tmp_path / "orders.json").write_text(json.dumps(orders))
    monkeypatch.setenv("KINA_FAKE", str(tmp_path / "orders.json"))


def test_each_provider_has_its_turns_and_every_round_begins_with_another(bench: Bench, home: Path) -> None:
    """One sample per counted round and phase; the first round gives none."""
    code, document, said = bench(f"{FAKE},{STUCK.replace('Stuck', '_Named')}", "--repeat", "2")
    assert code == 0, said
    jsonschema.validate(document, SCHEMA)
    for one in document["providers"]:
        assert set(one["phases"]) == {"create", "startup", "kubectl_ready", "ready", "delete", "whole"}
        assert {len(phase["seconds"]) for phase in one["phases"].values()} == {2}
        assert (one["turns"], one["failures"], one["left_out"]) == (3, [], "--no-deployment")
    turns = [line.partition(": ")[2].rpartition(":")[2] for line in said.splitlines() if line.startswith("round ")]
    assert turns == ["FakeProvider", "_Named", "_Named", "FakeProvider", "FakeProvider", "_Named"]
    assert nothing_left(home)


def test_whole_is_the_sum_of_its_parts(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow shows in its own phase, in ``ready`` and in ``whole``."""
    order(tmp_path, monkeypatch, delays={"startup": 0.2, "delete": 0.1})
    code, document, _ = bench(FAKE, "--repeat", "1")
    assert code == 0
    phases = {name: one["median"] for name, one in document["providers"][0]["phases"].items()}
    assert phases["startup"] >= 0.2
    assert phases["ready"] == pytest.approx(phases["create"] + phases["startup"] + phases["kubectl_ready"])
    assert phases["whole"] == pytest.approx(phases["ready"] + phases["delete"])
    assert phases["whole"] >= 0.3


@pytest.mark.parametrize(("provider", "reason"), [(BAD, "mend it"), (RUDE, "oops")])
def test_one_that_fails_does_not_end_the_others(bench: Bench, home: Path, provider: str, reason: str) -> None:
    """All its turns are counted with the reason, the other has all its samples, and the exit code is 1."""
    code, document, _ = bench(f"{provider},{FAKE}", "--repeat", "2")
    assert code == 1
    bad, good = document["providers"]
    assert (bad["turns"], bad["phases"]) == (3, {})
    assert [failure.partition(": ")[0] for failure in bad["failures"]] == [
        "round that does not count",
        "round 1 of 2",
        "round 2 of 2",
    ]
    assert all(reason in failure for failure in bad["failures"])
    assert len(good["phases"]["whole"]["seconds"]) == 2
    assert good["failures"] == []
    assert nothing_left(home)


def test_a_cluster_that_cannot_be_deleted_is_a_failure(bench: Bench, home: Path) -> None:
    """The phases before it count, there is no whole, and in the end it is deleted all the same."""
    code, document, _ = bench(STUCK, "--repeat", "1")
    assert code == 1
    (stuck,) = document["providers"]
    assert "delete failed: ProvisionError" in stuck["failures"][0]
    assert "ready" in stuck["phases"]
    assert "whole" not in stuck["phases"]
    assert nothing_left(home)


def test_a_deployment_that_fails_is_a_failure_of_its_turn_only(bench: Bench, home: Path) -> None:
    """Nobody answers behind a fake's kubeconfig: ready and deleted are measured, the Deployment is not."""
    code, document, _ = bench(FAKE, "--repeat", "1", deployment=True)
    assert code == 1
    (fake,) = document["providers"]
    assert len(fake["failures"]) == 2
    assert set(fake["phases"]) == {"create", "startup", "kubectl_ready", "ready", "delete"}
    assert nothing_left(home)


def test_where_no_pods_run_the_deployment_is_left_out_with_the_reason(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No failure, but a note; the same for a project whose clusters have no controllers."""
    order(
        tmp_path, monkeypatch, capabilities=[name for name in CAPABILITIES if name not in ("pods", "simulated-nodes")]
    )
    code, document, _ = bench(FAKE, "--repeat", "1", deployment=True)
    assert code == 0
    assert document["providers"][0]["left_out"] == "it has neither of the capabilities pods and simulated-nodes"
    assert "deployment" not in document["providers"][0]["phases"]
    order(tmp_path, monkeypatch)
    (tmp_path / "pyproject.toml").write_text("[tool.kina]\nprofile = 'api'\nsimulated_nodes = 0\n")
    _, document, _ = bench(FAKE, "--repeat", "1", deployment=True)
    assert document["notes"] == [f"{FAKE} runs no Deployment: the profile api has no controllers"]


def test_who_cannot_run_or_cannot_make_such_a_cluster_is_skipped_with_the_reason(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tool on PATH, no clusters of one's own, and nothing to prepare from: three reasons, no failure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, document, said = bench(f"kind,external,{FAKE}", "--repeat", "1")
    assert code == 0, said
    assert document["base"] == FAKE
    assert "`kind` is not on PATH" in document["skipped"]["kind"]
    assert "isolation" in document["skipped"]["external"]
    order(tmp_path, monkeypatch, failures={"prepare": "no binaries"})
    code, document, said = bench(FAKE, "--repeat", "1")
    assert (code, document["providers"], document["base"]) == (1, [], None)
    assert "no binaries" in document["skipped"][FAKE]
    assert f"{FAKE}: skipped, " in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--providers=kidn"], "no provider called 'kidn'"),
        (["--providers=auto"], "no provider called 'auto'"),
        (["--providers=kind,,kina"], "no provider called ''"),
        (["--providers=kind,kind"], "kind twice"),
        (["--providers=nowhere:Nobody"], "could not be loaded"),
        (["--providers=kind", "--repeat=0"], "expected at least 1"),
        (["--providers=kind", "--repeat=many"], "invalid int value"),
        (["--providers=kind", "--html=no/such/place.html"], "there is no directory"),
        (["--providers=kind", "--version=newest"], "pytest-kina bench --help"),
        (["--providers=kind", "--start-timeout=soon"], "--start-timeout"),
        ([], "--providers"),
    ],
)
def test_bad_arguments_are_usage_errors(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """Exit code 2, what is wrong, and nothing was made."""
    try:
        code = main(["bench", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert problem in capsys.readouterr().err
    assert not home.exists()


def test_text_and_page_say_the_same(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--json`` a table; ``--html`` writes a page besides."""
    assert main(["bench", f"--providers={FAKE}", "--repeat=1", "--no-deployment", "--html=side.html"]) == 0
    text, page = capsys.readouterr().out, (tmp_path / "side.html").read_text()
    for part in ("1 round in turns", "kubectl_ready", "fake 1.0, Kubernetes v1.36.3, start: fresh"):
        assert part in text
        assert part in page


@pytest.fixture
def start(tmp_path: Path, home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command as a process; whatever a failed test leaves is killed."""
    started: list[subprocess.Popen[str]] = []

    def command(*arguments: str) -> subprocess.Popen[str]:
        argv = [str(Path(sys.executable).with_name("pytest-kina")), "bench", *arguments]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path))
        return started[-1]

    yield command
    for process in started:
        process.kill()
        process.communicate()


def test_an_interrupt_deletes_the_cluster_and_shows_what_there_is(
    start: Callable[..., subprocess.Popen[str]], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of the second counted creation: the first one's samples are printed, nothing is left."""
    order(tmp_path, monkeypatch, delays={"startup": 0.3})
    process = start("--json", f"--providers={FAKE}", "--repeat=50", "--no-deployment")
    assert process.stderr is not None
    while "round 2 of" not in process.stderr.readline():
        assert process.poll() is None
    deadline = time.monotonic() + 20
    while not list((home / "clusters").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    document = json.loads(out)
    assert document["notes"][-1] == "interrupted in round 2 of 50"
    assert len(document["providers"][0]["phases"]["whole"]["seconds"]) >= 1
    assert nothing_left(home)
