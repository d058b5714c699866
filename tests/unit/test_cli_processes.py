"""The command ``pytest-kina`` as processes: at the same time, interrupted, killed, and with a real cluster."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.pool import open_root, records

PROGRAM = Path(sys.executable).with_name("pytest-kina")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Clusters that are files, four slots, a root below ``tmp_path``, and nothing of the outer run."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith("KINA_") and name != "CI"}
    return passed | {
        "KINA_HOME": str(tmp_path / "home"),
        "KINA_PROVIDER": "pytest_kina.testing:FakeProvider",
        "KINA_POOL_SIZE": "4",
        "KINA_FAKE": str(tmp_path / "orders.json"),
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Starts commands, and kills those that a failed test has left."""
    (tmp_path / "orders.json").write_text("{}")
    started: list[subprocess.Popen[str]] = []

    def command(*arguments: str) -> subprocess.Popen[str]:
        argv = [str(PROGRAM), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(argv, env=environment, cwd=tmp_path, **pipes)
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and output of a command that ends by itself."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def answer(process: subprocess.Popen[str]) -> Any:
    """The document of a command that succeeds."""
    code, out, err = finished(process)
    assert code == 0, err
    return json.loads(out)


def wait_for_creation(home: Path) -> None:
    """Until some process has begun to make the cluster of slot 0."""
    deadline = time.monotonic() + 30
    while not list(home.glob("clusters/*/backend")):
        assert time.monotonic() < deadline, "nobody began to make a cluster"
        time.sleep(0.02)


def test_commands_at_the_same_time_never_share_a_slot(start: Start) -> None:
    """Four ``up`` of four specs end with a READY cluster each, in a slot each."""
    processes = [start("up", "--json", f"--simulated-nodes={number}") for number in range(4)]
    made = [answer(process) for process in processes]
    assert sorted(one["slot"] for one in made) == [0, 1, 2, 3]
    slots = answer(start("status", "--json"))["slots"]
    assert {(slot["cluster"], slot["state"], slot["nodes"]) for slot in slots} == {
        (one["cluster"], "READY", one["nodes"]) for one in made
    }


def test_two_commands_that_delete_the_same_cluster_both_succeed_or_say_who_does(start: Start, tmp_path: Path) -> None:
    """Afterwards it is gone, and nobody deleted it twice."""
    name = answer(start("up", "--json"))["cluster"]
    (tmp_path / "orders.json").write_text('{"delays": {"delete": 1.0}}')
    both = [finished(process) for process in [start("down", "--json"), start("down", "--json")]]
    deleted = [name for code, out, _ in both for name in json.loads(out)["deleted"]]
    assert name in deleted
    left = [why for _, out, _ in both for why in json.loads(out)["left"].values()]
    assert all(why.startswith(("in use: deleting by process", "in use: somebody else has just")) for why in left)
    calls = [json.loads(line)["action"] for line in (tmp_path / "orders.json.calls").read_text().splitlines()]
    assert calls.count("delete") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)])
def test_what_an_interrupted_up_leaves_is_reaped(start: Start, tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C or a kill in the middle of creating: the record says what is left, and reap removes it."""
    (tmp_path / "orders.json").write_text('{"delays": {"create": 50}}')
    process = start("up")
    wait_for_creation(tmp_path / "home")
    process.send_signal(number)
    ended, _, err = finished(process)
    assert ended == code
    assert number == signal.SIGKILL or "interrupted" in err
    root = open_root(tmp_path / "home")
    record = records.peek(root.slots, 0)
    assert record is not None
    assert record.state == "DOOMED"
    document = answer(start("reap", "--json"))
    assert [decision["decision"] for decision in document["decisions"]] == ["delete", "nothing", "nothing", "nothing"]
    assert list(root.clusters.iterdir()) == []
    assert records.numbers(root.slots) == []


def test_status_while_a_cluster_is_made_shows_who_makes_it(start: Start, tmp_path: Path) -> None:
    """Looking waits for nobody."""
    (tmp_path / "orders.json").write_text('{"delays": {"create": 50}}')
    process = start("up")
    wait_for_creation(tmp_path / "home")
    slot = answer(start("status", "--json"))["slots"][0]
    assert (slot["held"], slot["state"]) == (True, "DOOMED")
    assert (slot["holder"]["doing"], slot["holder"]["pid"]) == ("creating", process.pid)


def test_json_output_is_one_document_and_progress_goes_elsewhere(start: Start) -> None:
    """A program can read standard output, while a person watches standard error."""
    code, out, err = finished(start("up", "--json"))
    assert code == 0
    assert json.loads(out)["start"] == "fresh"
    assert "preparing nothing" in err


@pytest.mark.real_control_plane
def test_up_and_down_of_a_real_control_plane(start: Start, environment: dict[str, str], assets: str) -> None:
    """The kubeconfig leads to an API server that answers; after ``down`` nobody listens and no process is left."""
    environment |= {"KINA_PROVIDER": "embedded", "KINA_ASSETS": assets}
    made = answer(start("up", "--profile=api", "--simulated-nodes=0", "--json"))
    try:
        server, context = _access(json.loads(Path(made["kubeconfig"]).read_text()), Path(made["directory"]))
        with urllib.request.urlopen(f"{server}/version", context=context, timeout=10) as response:
            assert json.load(response)["gitVersion"] == made["kubernetes"]
        assert _processes(made["cluster"])
    finally:
        deleted = answer(start("down", "--json"))
    assert deleted == {"deleted": [made["cluster"]], "left": {}}
    assert _processes(made["cluster"]) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{server}/version", context=context, timeout=10)


def _access(kubeconfig: Mapping[str, Any], directory: Path) -> tuple[str, ssl.SSLContext]:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    pair = directory / "access.pem"
    pair.write_bytes(b"\n".join(base64.b64decode(user[key]) for key in ("client-certificate-data", "client-key-data")))
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(str(pair))
    return cluster["server"], context


def _processes(cluster: str) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and f"KINA_CLUSTER={cluster}".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found
