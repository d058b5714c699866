"""What others on the machine can see and reach of a real run: nothing that opens a cluster."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_kina.cluster import Cluster
from tests.support.runs import Home, write_project

pytestmark = pytest.mark.real_control_plane

# Three failures with everything that pytest can show of them: a test's own, a refused request, a cluster that is
# never ready. The users' kubeconfigs are made on purpose: they are secrets, too.
FAILING = """
import pytest

@pytest.fixture
def someone(kina_namespace):
    return kina_namespace.as_user("someone", role="view")

def test_of_its_own(kina_cluster, kina_client, kina_kubeconfig, someone):
    assert kina_cluster is kina_client

def test_refused(someone):
    someone.get("secrets/a")

def test_talkative(kina_kubectl):
    kina_kubectl("-v=9", "get", "pods/none")

@pytest.mark.kina_cluster(feature_gates={"NoSuchGate": True})
def test_never_ready(kina_cluster): pass
"""
SHOW_ALL = (
    *("--tb=long", "--showlocals", "-rA", "--log-level=DEBUG", "--junitxml=junit.xml", "-p", "no:randomly"),
    *("--kina-html=report.html", "--kina-bench-json=bench.json", "--kina-prometheus=kina.prom"),
)
SECRET_PLACES = {"kubeconfig", "pki", "data", "users", "client"}
"""What may hold secrets, in a cluster's directory."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A run that failed, and the files of its cluster that hold secrets, as they were when it ended."""

    home: Home
    output: str
    secrets: frozenset[str]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    """A run under umask 000 whose tests fail; its cluster stays for these tests."""
    place = tmp_path_factory.mktemp("security")
    project = place / "project"
    project.mkdir()
    home = Home(
        root=place / "home",
        project=write_project(project, {"test_failing.py": FAILING}),
        assets=os.environ["KINA_ASSETS"],
    )
    before = os.umask(0)
    try:
        process = home.start(*SHOW_ALL, KINA_TTL="1h", KINA_KEEP="failed", KINA_POOL_SIZE="3")
    finally:
        os.umask(before)
    output, _ = process.communicate(timeout=300)
    try:
        yield Failed(home=home, output=output, secrets=frozenset(_secrets(home.root)))
    finally:
        down = [Path(sys.executable).with_name("pytest-kina"), "--home", home.root, "down"]
        subprocess.run(down, check=True, capture_output=True)
        home.assert_nothing_left()


def _secrets(root: Path) -> Iterator[str]:
    """Lines of keys and certificates, and the same as kubeconfigs and certificates in DER carry them."""
    for path in root.glob("clusters/*/*"):
        for file in [path, *path.rglob("*")] if path.name in SECRET_PLACES - {"data"} else ():
            if file.is_file():
                yield from _lines(file.read_bytes())


def _lines(content: bytes) -> Iterator[str]:
    if content.startswith(b"{"):
        document = json.loads(content)
        for entry in (*document.get("users", ()), *document.get("clusters", ())):
            for key, value in (entry.get("user") or entry["cluster"]).items():
                if key.endswith("-data"):
                    yield value[:60]
                    yield from _lines(base64.b64decode(value))
        return
    # The first line of a certificate is the same for many; what is long enough and not the first identifies it.
    lines = content.decode().splitlines()
    yield from (line for line in lines if len(line) >= 40 and "-----" not in line and not line.startswith("MII"))


def test_the_run_failed_as_it_should(failed: Failed) -> None:
    """Otherwise nothing that follows would mean anything: four failures, each with its explanation, and many secrets."""
    assert "3 failed, 1 error" in failed.output
    for words in ("NoSuchGate", 'cannot get resource "secrets"', "--- component logs", "kina: kept"):
        assert words in failed.output
    assert len(failed.secrets) > 50


def test_no_key_token_or_certificate_is_printed(failed: Failed) -> None:
    """Not with long tracebacks, local variables and captured logs either."""
    assert [secret for secret in failed.secrets if secret in failed.output] == []
    assert "PRIVATE KEY" not in failed.output


def test_no_key_token_or_certificate_is_written_elsewhere(failed: Failed) -> None:
    """Logs of all components, records, events, timings, reports: secrets are only in the files that are made for them."""
    looked_at = []
    for path in (*failed.home.root.rglob("*"), *failed.home.project.rglob("*")):
        inside = path.relative_to(failed.home.root).parts if path.is_relative_to(failed.home.root) else ()
        made_for_it = inside[:1] == ("templates",) or (inside[:1] == ("clusters",) and SECRET_PLACES & set(inside[2:]))
        if not path.is_file() or made_for_it:
            continue
        looked_at.append(path)
        content = path.read_bytes().decode(errors="replace")
        assert [secret for secret in failed.secrets if secret in content] == [], path
        assert "PRIVATE KEY" not in content, path
    names = {path.name for path in looked_at}
    assert {
        "kube-apiserver.log",
        "etcd.log",
        "cluster.json",
        "0.json",
        "junit.xml",
        "report.html",
        "bench.json",
    } <= names
    assert {"main.jsonl", "summary.json", "supervisor.json", "kina.prom"} <= names


def test_everything_is_private_whatever_the_umask(failed: Failed) -> None:
    """The run had umask 000: files are 0600, directories 0700. kubectl opens its cache itself, in a closed directory."""
    for path in (failed.home.root, *failed.home.root.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and "cache" not in path.parts:
            assert mode & 0o077 == 0, f"{stat.filemode(mode)} {path}"


def test_no_command_line_or_environment_has_a_secret(failed: Failed) -> None:
    """Command lines are for everybody to read; environments hold only what is on the list."""
    assert failed.home.processes()
    for pid in failed.home.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        assert [secret for secret in failed.secrets if secret in command + variables] == []
        assert not {"KUBECONFIG", "PYTEST_CURRENT_TEST", "KINA_HOME"} & {
            v.partition("=")[0] for v in variables.split("\0")
        }


def test_no_open_port_serves_a_stranger(real_cluster: Cluster) -> None:
    """Every port of every component is behind TLS, and who shows no certificate of the cluster gets nothing."""
    ports = _listening(real_cluster)
    names = {name for name, _ in ports}
    assert "kube-apiserver" in names
    assert "etcd" not in names
    for name, port in ports:
        assert _spoken(port, secured=False) in (b"", b"HTTP/1.0 400"), name
        answers = {_spoken(port, secured=True, path=path) for path in ("/api/v1/secrets", "/members", "/v3/kv/range")}
        assert answers <= {b"", b"HTTP/1.1 401", b"HTTP/1.1 403"}, f"{name} on {port}"


def _listening(cluster: Cluster) -> list[tuple[str, int]]:
    import psutil

    supervisor = json.loads((cluster.directory / "supervisor.json").read_bytes())["pid"]
    found = []
    for process in psutil.Process(supervisor).children(recursive=True):
        connections = process.net_connections(kind="tcp")
        found += [(process.name(), each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN]
    return found


def _spoken(port: int, *, secured: bool, path: str = "/") -> bytes:
    """The beginning of the answer to a request without any credential; empty when the connection is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain) if secured else plain as stream:
                stream.sendall(request)
                return stream.recv(12)
        except (ssl.SSLError, ConnectionError):
            return b""
