"""What is reported about a failed test: capped, honest about what is missing, and free of secrets."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_api import FakeApi, items, status, thing

from pytest_kina.cluster import Cluster, explanations
from pytest_kina.cluster.evidence import collect

EVENTS = "/api/v1/namespaces/n/events"
PODS = "/api/v1/namespaces/n/pods"


def event(reason: str, time: str, message: str = "") -> Any:
    """An event about a pod."""
    about = {"kind": "Pod", "name": "p"}
    return {
        "metadata": {},
        "type": "Normal",
        "reason": reason,
        "eventTime": time,
        "involvedObject": about,
        "message": message,
    }


def log(cluster: Cluster, name: str, text: str) -> None:
    """Write a component's log."""
    (cluster.directory / "logs").mkdir(exist_ok=True)
    (cluster.directory / "logs" / f"{name}.log").write_text(text)


def test_evidence_has_events_pods_and_logs(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Events end with the newest, pods that do not run come first with their reasons, logs with their last lines."""
    fake_api.on("GET", EVENTS, items(event("Late", "2026-01-01T00:00:02Z"), event("Early", "2026-01-01T00:00:01Z")))
    stuck = thing("stuck", status={"phase": "Pending", "reason": "Evicted"})
    fake_api.on("GET", PODS, items(thing("fine", status={"phase": "Running"}), stuck))
    log(fake_cluster, "etcd", "".join(f"line {number}\n" for number in range(100)))
    text = collect(fake_cluster, "n", limit_bytes=10_000)
    order = ["events (namespace n)", "Early", "Late", "pods", "pod/stuck", "Evicted", "pod/fine", "[etcd]", "line 99"]
    assert sorted(order, key=text.index) == order
    assert "line 79" not in text


def test_evidence_says_what_could_not_be_had(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A refusal, or a server that is dead, is part of the evidence and never an error of its own."""
    fake_api.on("GET", EVENTS, status(403, "Forbidden", "no events for you"))
    fake_api.on("GET", PODS, items())
    text = collect(fake_cluster, "n", limit_bytes=10_000)
    assert "could not be had: Forbidden: cannot list events" in text
    assert "--- pods (namespace n)\nnone" in text
    (fake_cluster.directory / "kubeconfig").unlink()
    other = Cluster.open(fake_cluster.directory)
    assert "could not be had: StateError" in collect(other, None, limit_bytes=10_000)


def test_evidence_does_not_wait_for_a_server_that_hangs(
    fake_api: FakeApi, fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for the failure may be that nobody answers; then that is said, and the logs are still there."""
    monkeypatch.setattr(explanations, "HASTY_TIMEOUT", 0.2)
    release = threading.Event()

    def hang(request: Any) -> Any:
        release.wait(20)
        return items()

    fake_api.responders.append(hang)
    log(fake_cluster, "etcd", "out of space\n")
    try:
        text = collect(fake_cluster, "n", limit_bytes=10_000)
        assert not release.is_set()
    finally:
        release.set()
    assert text.count("could not be had: ApiError: cannot list") == 2
    assert "out of space" in text


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nEEI\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMHcCAQEEI cut off",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6Ij.eyJpc3MiOiJr.c2lnbmF0dXJl",
        "Bearer abc123-secret",
        "client-key-data: TUhjQ0FRRUVJ",
    ],
)
def test_keys_and_tokens_are_cut_out(fake_api: FakeApi, fake_cluster: Cluster, secret: str) -> None:
    """Whatever a component or an event blurts out does not reach the report."""
    fake_api.on("GET", EVENTS, items(event("Leak", "2026-01-01T00:00:01Z", secret)))
    fake_api.on("GET", PODS, items())
    log(fake_cluster, "apiserver", f"before\n{secret}\n")
    text = collect(fake_cluster, "n", limit_bytes=10_000)
    assert text.count("[removed]") == 2
    assert not [word for word in ("MHcCAQ", "eyJ", "abc123", "TUhj") if word in text]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(limit=st.integers(min_value=0, max_value=3000), content=st.text(alphabet="aä€\n", max_size=3000))
def test_limit_is_kept_for_any_text(fake_cluster: Cluster, limit: int, content: str) -> None:
    """The text never exceeds the limit in bytes, wherever characters of several bytes are cut."""
    log(fake_cluster, "etcd", content)
    assert len(collect(fake_cluster, "n", limit_bytes=limit).encode()) <= limit


def test_end_of_a_long_log_is_kept(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """When there is too much, the newest lines stay, and it is said that something was cut."""
    for path in (EVENTS, PODS):
        fake_api.on("GET", path, items())
    log(fake_cluster, "etcd", "".join(f"{'x' * 200} {number}\n" for number in range(50)))
    text = collect(fake_cluster, "n", limit_bytes=1000)
    assert text.endswith(" 49")
    assert "... (cut)" in text


def test_component_logs_are_named_after_their_files(fake_cluster: Cluster) -> None:
    """No directory means no logs, not an error."""
    assert fake_cluster.component_logs() == {}
    log(fake_cluster, "etcd", "one\ntwo\n")
    assert fake_cluster.component_logs(lines=1) == {"etcd": "two"}


def test_handles_are_cheap_until_they_are_used(fake_cluster: Cluster) -> None:
    """Importing the handles and opening a cluster loads no client, no YAML, no TLS."""
    program = (
        "import sys, pathlib; from pytest_kina.cluster import Cluster, Kubectl\n"
        "Cluster.open(pathlib.Path(sys.argv[1])).namespace('n')\n"
        "print(*{'kubernetes', 'yaml', 'ssl', 'urllib3', 'cryptography', 'http.client', 'asyncio'} & set(sys.modules))"
    )
    argv = [sys.executable, "-c", program, str(fake_cluster.directory)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == ""
