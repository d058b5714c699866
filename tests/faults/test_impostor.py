"""Fault 22: somebody else answers where a cluster's API server did. Nobody believes him, and he learns no credential."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.certificates import Authority
from pytest_kina.cluster import Cluster
from pytest_kina.errors import KinaError
from pytest_kina.pool import Lease
from pytest_kina.providers.embedded import credentials
from pytest_kina.waiting import Deadline, Probe, wait_until
from tests.support.pool_kit import Kit
from tests.support.universal import every_process, processes_below, sweep

REPOSITORY = Path(__file__).parents[2]
REAL: Mapping[str, Any] = {"provider_name": "embedded", "profile": "api", "simulated_nodes": 0}


def eventually(look: Callable[[], object]) -> None:
    """Fail when something does not become true; nothing here is about speed."""
    assert wait_until(look, Deadline(30.0), interval=0.02), "it did not happen"


def own_papers(place: Path, client_ca: Path) -> list[str]:
    """A certificate for the right address by an authority of his own; he would take clients' certificates of ``client_ca``."""
    place.mkdir()
    Authority.create(place, "ca").server(place, "server", ("localhost", "127.0.0.1", "kubernetes"))
    return [str(place / "server.crt"), str(place / "server.key"), str(client_ca)]


@contextmanager
def impostor(port: int, log: Path, papers: list[str]) -> Iterator[None]:
    """A process that answers on the port."""
    argv = [sys.executable, "-m", "tests.support.impostor", str(port), str(log), *papers]
    with subprocess.Popen(argv, cwd=REPOSITORY) as process:
        try:
            eventually(lambda: log.exists() or process.poll() is not None)
            assert process.poll() is None, "the impostor could not take the port"
            yield
        finally:
            process.kill()


def visitors(log: Path) -> list[dict[str, bool | str]]:
    """What the impostor has seen so far."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def pids_of(lease: Lease, part: str) -> list[int]:
    """The cluster's processes with ``part`` in their command line."""
    return [pid for pid, line, _ in every_process() if part in line and f"{lease.directory}" in line]


@pytest.mark.parametrize("honest", [True, False], ids=["honest", "impostor"])
def test_the_impostor_of_these_tests_would_see_a_credential(tmp_path: Path, honest: bool) -> None:
    """Who shows him a certificate and a request is noted down: with papers that the visitor trusts he gets both."""
    theirs, log = tmp_path / "theirs", tmp_path / "log"
    theirs.mkdir()
    authority = Authority.create(theirs, "ca")
    authority.client(theirs, "client", "somebody")
    papers = own_papers(tmp_path / "own", theirs / "ca.crt")
    if honest:
        authority.server(theirs, "server", ("localhost", "127.0.0.1"))
        papers[:2] = str(theirs / "server.crt"), str(theirs / "server.key")
    port = free_port()
    with impostor(port, log, papers):
        probe = Probe("127.0.0.1", port, ca=theirs / "ca.crt", certificate=theirs / "client.pem")
        with closing(probe), nullcontext() if honest else pytest.raises(OSError, match="certificate verify failed"):
            assert probe.get("/secret") == (200, b"{}")
        eventually(lambda: visitors(log))
    (seen,) = visitors(log)
    assert (seen["secured"], seen["certificate"]) == (honest, honest)
    assert ("GET /secret" in str(seen["read"])) == honest


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        return int(stream.getsockname()[1])


def is_refused(port: int) -> bool:
    """Whether nobody listens: the kernel would share visitors between the impostor and a server that is still dying."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    except OSError as error:  # any other: the server died with the visitor at the door
        return isinstance(error, ConnectionRefusedError)
    return False


@pytest.mark.real_control_plane
def test_22_an_impostor_on_the_port_is_rejected_and_learns_nothing(
    tmp_path: Path, assets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The health check and the client see that it is not their server, before any credential; the next taker is served."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    kit = Kit(tmp_path / "root", size=2, ttl=60.0, start_timeout=120.0)
    lease = kit.lease(**REAL)
    assert Cluster.open(lease.directory).list("namespaces")
    papers = own_papers(tmp_path / "own", lease.directory / "pki" / "serving-ca.crt")
    (supervisor,), (server,) = pids_of(lease, "_supervisor.py"), pids_of(lease, "kube-apiserver --")
    os.kill(supervisor, signal.SIGSTOP)  # or it would end the cluster before anybody could take the port
    os.kill(server, signal.SIGKILL)
    try:
        eventually(lambda: is_refused(credentials.api_port(lease.directory / "kubeconfig")))
        assert_nothing_told(lease, tmp_path / "plain", [])
        assert_nothing_told(lease, tmp_path / "tls", papers)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: not pids_of(lease, "_supervisor.py"))
    lease.release()
    again = kit.lease(**REAL)
    assert again.unhealthy() is None
    again.release()
    kit.pool.retire()
    kit.pool.close()
    eventually(lambda: not processes_below(kit.root.path))
    assert sweep(kit.root.path).left == ()


def assert_nothing_told(lease: Lease, log: Path, papers: list[str]) -> None:
    """Both visitors of the impostor leave before they have shown a certificate, a token or a request."""
    with impostor(credentials.api_port(lease.directory / "kubeconfig"), log, papers):
        assert "API server cannot be asked" in (lease.unhealthy() or "it is well")
        with pytest.raises(KinaError):
            Cluster.open(lease.directory).list("namespaces")
        eventually(lambda: len(visitors(log)) >= 2)
    for seen in visitors(log):
        assert (seen["secured"], seen["certificate"]) == (False, False)
        assert "Bearer" not in str(seen["read"])
        assert "HTTP/1.1" not in str(seen["read"])
